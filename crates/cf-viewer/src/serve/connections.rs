//! Connections of clients, none of which can keep the server from ending.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a client may take for the head of a request, from the answer before.
const HEAD: Duration = Duration::from_secs(30);
/// How long answers that are under way may take once the server is to stop.
const CLOSING: Duration = Duration::from_secs(3);

/// Answers until `stop` is done, then lets go of clients: of those that wait for nothing at once, of the others when they have
/// their answer or [`CLOSING`] is over.
pub(super) async fn serve_until(mut listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let (closing, is_closing) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => {
                connections.spawn(converse(stream, router.clone(), is_closing.clone()));
            }
            // What has ended would be kept until asked for.
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        }
    }
    // A browser that still asks is told that nobody is there.
    drop(listener);
    drop(closing);
    let all_end = async { while connections.join_next().await.is_some() {} };
    // Those that are left are closed where they are.
    let _ = tokio::time::timeout(CLOSING, all_end).await;
}

/// Answers the requests of one client until it leaves, or the sender of `is_closing` is dropped and the request that is being answered
/// is done.
async fn converse(stream: TcpStream, router: Router, mut is_closing: watch::Receiver<()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection =
        pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    tokio::select! {
        // A client that broke off is no error of the server.
        _ = connection.as_mut() => return,
        _ = is_closing.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
