//! Things made ahead of use.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// An iterator that runs on a thread of its own, so that an item is made while the one before it is in use.
///
/// Yields the same items in the same order. A panic of the iterator is passed on where its item would have come. Dropping this
/// waits for the item in progress and ends the thread.
///
/// ```
/// use wsi_bags::ReadAhead;
///
/// let squares = ReadAhead::new((1..4).map(|i| i * i), 0);
/// assert_eq!(squares.collect::<Vec<_>>(), [1, 4, 9]);
/// ```
pub struct ReadAhead<T> {
    // Both are taken when this is dropped: the receiver first, so that the thread can end.
    finished: Option<Receiver<T>>,
    maker: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Starts `items`. At most `ahead` of them wait while one more is being made: with `ahead` 0, one is made while the one before
    /// it is in use.
    #[must_use]
    pub fn new(items: impl Iterator<Item = T> + Send + 'static, ahead: usize) -> Self {
        let (sender, finished) = sync_channel(ahead);
        let maker = thread::spawn(move || {
            for item in items {
                // This was dropped: nobody wants the rest.
                if sender.send(item).is_err() {
                    break;
                }
            }
        });
        Self { finished: Some(finished), maker: Some(maker) }
    }
}

impl<T> Iterator for ReadAhead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.finished.as_ref().and_then(|finished| finished.recv().ok());
        if item.is_none()
            && let Some(Err(panic)) = self.maker.take().map(JoinHandle::join)
        {
            // A short list must not pass for the whole one.
            std::panic::resume_unwind(panic);
        }
        item
    }
}

impl<T> Drop for ReadAhead<T> {
    fn drop(&mut self) {
        drop(self.finished.take());
        if let Some(maker) = self.maker.take() {
            // A panic of the thread has been told by `next`, or nobody asked for the item that caused it.
            let _ = maker.join();
        }
    }
}
