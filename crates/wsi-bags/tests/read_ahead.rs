//! What a thread makes ahead of use arrives whole, or its panic does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wsi_bags::ReadAhead;

#[test]
fn a_panic_comes_where_its_item_would_have() {
    let items = (0..3).map(|item| if item == 1 { panic!("item {item}") } else { item });
    let mut ahead = ReadAhead::new(items, 0);
    assert_eq!(ahead.next(), Some(0));
    let panic = catch_unwind(AssertUnwindSafe(|| ahead.next())).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "item 1");
    assert_eq!(ahead.next(), None, "it was told");
}

#[test]
fn no_more_is_made_ahead_than_was_said() {
    for n_ahead in [0, 2] {
        let n_made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&n_made);
        let mut ahead =
            ReadAhead::new((0..100).inspect(move |_| _ = counter.fetch_add(1, Ordering::Relaxed)), n_ahead);
        assert_eq!(ahead.next(), Some(0));
        // The one in use, those that wait, and one that is made or waits for room.
        let most = 1 + n_ahead + 1;
        let start = Instant::now();
        while n_made.load(Ordering::Relaxed) < most && start.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(n_made.load(Ordering::Relaxed), most);
        drop(ahead);
        assert_eq!(Arc::strong_count(&n_made), 1, "the thread has ended");
    }
}
