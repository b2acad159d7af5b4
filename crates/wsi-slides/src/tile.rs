//! One decoded tile, and the cache of those decoded last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The pixels of a tile or strip: 8-bit RGB, row by row.
#[derive(Debug, PartialEq)]
pub(crate) struct Tile {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rgb: Vec<u8>,
}

impl Tile {
    /// Makes white of black.
    pub(crate) fn invert(&mut self) {
        self.rgb.iter_mut().for_each(|value| *value = !*value);
    }
}

/// Level and number of a tile.
pub(crate) type TileKey = (usize, u64);

/// The tiles decoded last, up to a number of bytes; the oldest go first.
///
/// Neighbouring patches, and the three magnifications of one place, share tiles; a tile that was decoded long ago is
/// rarely wanted again, so age by decoding is as good as age by use and needs no bookkeeping on a hit.
pub(crate) struct TileCache {
    held: Mutex<Held>,
    capacity: usize,
}

#[derive(Default)]
struct Held {
    tiles: HashMap<TileKey, Arc<Tile>>,
    order: VecDeque<TileKey>,
    bytes: usize,
}

impl TileCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { held: Mutex::default(), capacity }
    }

    pub(crate) fn get(&self, key: TileKey) -> Option<Arc<Tile>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).tiles.get(&key).cloned()
    }

    pub(crate) fn put(&self, key: TileKey, tile: Arc<Tile>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let size = tile.rgb.len();
        if size > self.capacity || held.tiles.contains_key(&key) {
            return;
        }
        while held.bytes + size > self.capacity {
            let Some(oldest) = held.order.pop_front() else { break };
            if let Some(gone) = held.tiles.remove(&oldest) {
                held.bytes -= gone.rgb.len();
            }
        }
        held.bytes += size;
        held.order.push_back(key);
        held.tiles.insert(key, tile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(n_bytes: usize) -> Arc<Tile> {
        Arc::new(Tile { width: 1, height: 1, rgb: vec![0; n_bytes] })
    }

    #[test]
    fn the_oldest_tiles_make_room() {
        let cache = TileCache::new(10);
        for number in 0..3 {
            cache.put((0, number), tile(4));
        }
        assert!(cache.get((0, 0)).is_none());
        assert!(cache.get((0, 1)).is_some() && cache.get((0, 2)).is_some());
        cache.put((0, 3), tile(11));
        assert!(cache.get((0, 3)).is_none(), "larger than the cache");
        assert!(cache.get((0, 2)).is_some(), "and nothing had to go for it");
    }
}
