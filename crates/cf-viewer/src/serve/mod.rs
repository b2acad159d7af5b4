//! The web viewer: slides, heatmaps and patients of a run in a browser on the same machine.
//!
//! It listens on the loopback interface alone, answers GET and HEAD, writes nothing, and opens no file but those of the study's
//! slides, which were listed before it started. The page is part of the program and loads nothing from elsewhere.

mod app;
mod assets;
mod connections;
mod deep_zoom;
mod recent;
mod refusal;
mod routes;
mod slide_state;
mod study;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

pub use study::{HeatSource, SlideHeat, Study};

use crate::error::{Error, Result};
use app::App;
use connections::serve_until;

/// Serves a study on `127.0.0.1:port` until `stop` is done; port 0 takes a free one. `ready` gets the address once it answers.
/// Answers that are under way then have three seconds.
///
/// # Errors
/// [`Error::Serve`] if the port is taken or the system refuses.
pub fn serve(
    study: Study,
    port: u16,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let failed = |action: &'static str| move |source| Error::Serve { port, action, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed("start its threads"))?;
    let served = runtime.block_on(async {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed("listen on 127.0.0.1"))?;
        let address = listener.local_addr().map_err(failed("listen on 127.0.0.1"))?;
        let port = address.port();
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        let app = Arc::new(App::new(study, hosts.to_vec()));
        ready(address);
        serve_until(listener, routes::router(app), stop).await;
        Ok(())
    });
    // A model's pass that nobody waits for any more takes minutes, and writes nothing.
    runtime.shutdown_background();
    served
}
