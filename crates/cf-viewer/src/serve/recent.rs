//! What was made last, up to a cost: the least recently used goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A cache shared by threads. A value is made once, however many ask for it at the same time.
pub(super) struct Recent<K, V> {
    held: Mutex<Held<K, V>>,
    capacity: usize,
}

/// A value, or the error of making it, for all who asked.
type Slot<V> = Arc<OnceLock<Result<Arc<V>, String>>>;

struct Held<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were last asked for.
    order: BTreeMap<u64, K>,
    clock: u64,
    cost: usize,
}

struct Entry<V> {
    slot: Slot<V>,
    last_used: u64,
    cost: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Holds values of at most `capacity` in all.
    pub(super) fn new(capacity: usize) -> Self {
        let held = Held { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, cost: 0 };
        Self { held: Mutex::new(held), capacity }
    }

    /// The value of `key`, made where it is not held. An error is not kept.
    pub(super) fn get(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<V, String>,
        cost: impl FnOnce(&V) -> usize,
    ) -> Result<Arc<V>, String> {
        let slot = self.lock().slot(key);
        let mut made = false;
        let value = slot.get_or_init(|| {
            made = true;
            make().map(Arc::new)
        });
        if made {
            let cost = value.as_ref().ok().map(|value| cost(value));
            self.lock().settle(key, &slot, cost, self.capacity);
        }
        value.clone()
    }

    /// The value of `key`, if it is held and made.
    pub(super) fn held(&self, key: &K) -> Option<Arc<V>> {
        let mut held = self.lock();
        // Asking for what is not there must not leave a place for it.
        held.entries.contains_key(key).then(|| held.slot(key))?.get()?.clone().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> Held<K, V> {
    fn slot(&mut self, key: &K) -> Slot<V> {
        self.clock += 1;
        let now = self.clock;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            slot: Slot::default(),
            last_used: now,
            cost: 0,
        });
        self.order.remove(&entry.last_used);
        entry.last_used = now;
        self.order.insert(now, key.clone());
        Arc::clone(&entry.slot)
    }

    /// Notes what a value costs, `None` for one that could not be made, and lets others go until all fit.
    fn settle(&mut self, key: &K, slot: &Slot<V>, cost: Option<usize>, capacity: usize) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.slot, slot)) else {
            return;
        };
        match cost {
            Some(cost) => {
                entry.cost = cost;
                self.cost += cost;
            }
            None => self.remove(&key.clone()),
        }
        while self.cost > capacity {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.last_used);
            self.cost -= entry.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_least_recently_used_goes_first() {
        let recent: Recent<u32, u32> = Recent::new(3);
        let n_made = AtomicUsize::new(0);
        let get = |key: u32| {
            let make = || {
                n_made.fetch_add(1, Ordering::Relaxed);
                Ok(key)
            };
            assert_eq!(*recent.get(&key, make, |_| 1).unwrap(), key);
            n_made.load(Ordering::Relaxed)
        };
        assert_eq!([get(1), get(2), get(3), get(1)], [1, 2, 3, 3]);
        assert_eq!([get(4), get(1), get(2)], [4, 4, 5], "2 had been let go, 1 had been asked for since");
        assert_eq!(recent.lock().cost, 3);
    }

    #[test]
    fn a_value_is_made_once_and_an_error_is_not_kept() {
        let recent: Recent<&str, u32> = Recent::new(10);
        let n_made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || {
                        n_made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(7)
                    };
                    assert_eq!(*recent.get(&"a", make, |_| 1).unwrap(), 7);
                });
            }
        });
        assert_eq!(n_made.load(Ordering::Relaxed), 1);
        assert_eq!(recent.get(&"b", || Err("no".to_owned()), |_| 1).unwrap_err(), "no");
        assert_eq!(*recent.get(&"b", || Ok(2), |_| 1).unwrap(), 2);
        assert_eq!(*recent.get(&"c", || Ok(3), |_| 99).unwrap(), 3, "larger than all: given, not held");
        assert!(recent.lock().cost <= 10);
    }
}
