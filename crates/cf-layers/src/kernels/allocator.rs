//! An allocator for programs that make and drop tensors of many megabytes, step after step.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

/// Blocks from this size on are kept when they are freed.
const LARGE: usize = 64 << 10;
/// Sizes and addresses of kept blocks are multiples of this.
const GRAIN: usize = 16 << 10;
/// Memory is asked of the system in pieces of this size or larger.
const SEGMENT: usize = 64 << 20;
/// The size of a huge page on x86-64, and a multiple of it elsewhere.
const HUGE_PAGE: usize = 2 << 20;

/// A global allocator that keeps large blocks for the next tensor, in huge pages where the system has them.
///
/// The system's own allocator returns every block of some megabytes and fetches it anew: each page of it is then cleared and
/// mapped again, which costs more than the arithmetic of many layers. Here freed blocks are merged with their neighbours and
/// handed out again, the smallest that fits first. Smaller blocks go to the system's allocator.
///
/// A program takes it by declaring it; a library is not to:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: cf_layers::kernels::TensorAllocator = cf_layers::kernels::TensorAllocator::new();
///
/// let first = vec![1.0_f32; 1 << 20];
/// let address = first.as_ptr();
/// drop(first);
/// let again = vec![0.0_f32; 1 << 20];
/// assert!(again.as_ptr() == address && again.iter().all(|&x| x == 0.0));
/// ```
#[derive(Debug)]
pub struct TensorAllocator {
    free: Mutex<FreeList>,
}

impl TensorAllocator {
    /// An allocator that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: Mutex::new(FreeList { first: None }) }
    }
}

impl Default for TensorAllocator {
    fn default() -> Self {
        Self::new()
    }
}

/// Free blocks in the order of their addresses. Each begins with what is known of it.
#[derive(Debug)]
struct FreeList {
    first: Option<NonNull<Block>>,
}

// SAFETY: the list owns the memory that it links, and is reached through its mutex only.
#[expect(unsafe_code, reason = "a list that owns raw memory")]
unsafe impl Send for FreeList {}

#[derive(Debug)]
struct Block {
    size: usize,
    next: Option<NonNull<Block>>,
}

/// Whether memory is known to be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Zero,
    Unknown,
}

/// What a request takes of a kept block; `None` for requests that go to the system's allocator.
fn kept_size(layout: Layout) -> Option<usize> {
    (layout.size() >= LARGE && layout.align() <= GRAIN).then(|| layout.size().next_multiple_of(GRAIN))
}

#[expect(unsafe_code, reason = "an allocator")]
impl FreeList {
    /// Takes `size` bytes, a multiple of [`GRAIN`]; from the system if no free block has them.
    fn take(&mut self, size: usize) -> Option<(NonNull<u8>, Content)> {
        if let Some(taken) = self.take_free(size) {
            return Some((taken, Content::Unknown));
        }
        let segment = size.max(SEGMENT).next_multiple_of(HUGE_PAGE);
        let mapped = map(segment).or_else(|| map(size.next_multiple_of(HUGE_PAGE)))?;
        let (start, mapped) = (mapped.0, mapped.1);
        if mapped > size {
            // SAFETY: `start .. start + mapped` was just mapped and belongs to nobody else.
            unsafe { self.put(start.add(size), mapped - size) };
        }
        Some((start, Content::Zero))
    }

    /// The smallest free block that has `size` bytes, without what it has beyond them.
    fn take_free(&mut self, size: usize) -> Option<NonNull<u8>> {
        let mut best: Option<(*mut Option<NonNull<Block>>, usize)> = None;
        let mut link: *mut Option<NonNull<Block>> = &raw mut self.first;
        // SAFETY: links and blocks of the list are valid, and reached through `self` alone.
        unsafe {
            while let Some(block) = *link {
                let found = (*block.as_ptr()).size;
                if found >= size && best.is_none_or(|(_, smallest)| found < smallest) {
                    best = Some((link, found));
                }
                link = &raw mut (*block.as_ptr()).next;
            }
            let (link, found) = best?;
            let block = (*link)?;
            let next = (*block.as_ptr()).next;
            *link = if found == size {
                next
            } else {
                let rest = block.cast::<u8>().add(size).cast::<Block>();
                rest.write(Block { size: found - size, next });
                Some(rest)
            };
            Some(block.cast())
        }
    }

    /// Adds a block, merged with free neighbours.
    ///
    /// # Safety
    /// `start .. start + size` is memory from this list, at multiples of [`GRAIN`], that nobody uses.
    unsafe fn put(&mut self, start: NonNull<u8>, mut size: usize) {
        let mut before: Option<NonNull<Block>> = None;
        let mut after = self.first;
        // SAFETY: blocks of the list are valid; the new one is the caller's to give.
        unsafe {
            while let Some(block) = after
                && block.cast::<u8>() < start
            {
                (before, after) = (Some(block), (*block.as_ptr()).next);
            }
            if let Some(block) = after
                && start.add(size) == block.cast::<u8>()
            {
                size += (*block.as_ptr()).size;
                after = (*block.as_ptr()).next;
            }
            match before {
                Some(block) if block.cast::<u8>().add((*block.as_ptr()).size) == start => {
                    (*block.as_ptr()).size += size;
                    (*block.as_ptr()).next = after;
                }
                _ => {
                    let new = start.cast::<Block>();
                    new.write(Block { size, next: after });
                    match before {
                        Some(block) => (*block.as_ptr()).next = Some(new),
                        None => self.first = Some(new),
                    }
                }
            }
        }
    }
}

/// Fresh memory of at least `size` bytes, a multiple of [`HUGE_PAGE`], and how much of it there is: all zero, and never returned.
fn map(size: usize) -> Option<(NonNull<u8>, usize)> {
    // One huge page more, so that the rest can begin at the start of one.
    let mut map = memmap2::MmapOptions::new().len(size + HUGE_PAGE).map_anon().ok()?;
    let start = map.as_mut_ptr();
    let skipped = start.align_offset(HUGE_PAGE);
    #[cfg(target_os = "linux")]
    // Not every kernel has huge pages; without them the memory is the same, and slower.
    let _ = map.advise_range(memmap2::Advice::HugePage, skipped, size);
    std::mem::forget(map);
    Some((NonNull::new(start.wrapping_add(skipped))?, size))
}

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: large blocks are disjoint parts of mapped memory, aligned to `GRAIN`, as large as asked for, and handed out again
// only after they were freed; all others are the system allocator's. Which of the two it is depends on the layout alone.
unsafe impl GlobalAlloc for TensorAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = kept_size(layout) else {
            // SAFETY: passed on.
            return unsafe { System.alloc(layout) };
        };
        let taken = self.free.lock().unwrap_or_else(PoisonError::into_inner).take(size);
        taken.map_or(ptr::null_mut(), |(start, _)| start.as_ptr())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(size) = kept_size(layout) else {
            // SAFETY: passed on.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let taken = self.free.lock().unwrap_or_else(PoisonError::into_inner).take(size);
        match taken {
            None => ptr::null_mut(),
            Some((start, Content::Zero)) => start.as_ptr(),
            Some((start, Content::Unknown)) => {
                // SAFETY: the block has at least that many bytes.
                unsafe { start.write_bytes(0, layout.size()) };
                start.as_ptr()
            }
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        match (kept_size(layout), NonNull::new(start)) {
            (Some(size), Some(start)) => {
                // SAFETY: a block of this layout came from the list with this size.
                unsafe { self.free.lock().unwrap_or_else(PoisonError::into_inner).put(start, size) };
            }
            // SAFETY: passed on.
            _ => unsafe { System.dealloc(start, layout) },
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "tests of an allocator")]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_come_back_merged() {
        let allocator = TensorAllocator::new();
        let layout = |kib: usize| Layout::from_size_align(kib << 10, 64).unwrap();
        // SAFETY: each block is written within its size and freed once, with its own layout.
        unsafe {
            let sizes = [300, 1024, 257, 5000, 70_000, 300];
            let mut blocks: Vec<_> =
                sizes.iter().map(|&kib| (allocator.alloc(layout(kib)), layout(kib))).collect();
            for (index, &(start, layout)) in blocks.iter().enumerate() {
                assert!(start.addr().is_multiple_of(GRAIN));
                start.write_bytes(index as u8 + 1, layout.size());
            }
            for (index, &(start, layout)) in blocks.iter().enumerate() {
                let bytes = std::slice::from_raw_parts(start, layout.size());
                assert!(bytes.iter().all(|&byte| byte == index as u8 + 1), "block {index}");
            }
            let first = blocks[0].0;
            for index in [1, 0, 3, 2, 5, 4] {
                allocator.dealloc(blocks[index].0, blocks[index].1);
            }
            blocks.clear();
            // The first four were neighbours: together they are one block again.
            let together = layout(300 + 1024 + 257 + 5000);
            let again = allocator.alloc_zeroed(together);
            assert_eq!(again, first);
            assert!(std::slice::from_raw_parts(again, together.size()).iter().all(|&byte| byte == 0));
            allocator.dealloc(again, together);
        }
    }

    #[test]
    fn small_blocks_and_wide_alignments_are_the_systems() {
        assert_eq!(kept_size(Layout::from_size_align(LARGE - 1, 8).unwrap()), None);
        assert_eq!(kept_size(Layout::from_size_align(LARGE, 2 * GRAIN).unwrap()), None);
        assert_eq!(kept_size(Layout::from_size_align(LARGE + 1, 8).unwrap()), Some(LARGE + GRAIN));
    }

    #[test]
    fn threads_take_and_give_at_once() {
        let allocator = TensorAllocator::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let allocator = &allocator;
                scope.spawn(move || {
                    for round in 0..50 {
                        let size = LARGE + GRAIN * usize::from(thread) * (round % 5);
                        let layout = Layout::from_size_align(size, 64).unwrap();
                        // SAFETY: the block is written within its size and freed once.
                        unsafe {
                            let start = allocator.alloc(layout);
                            start.write_bytes(thread, layout.size());
                            let bytes = std::slice::from_raw_parts(start, layout.size());
                            assert!(bytes.iter().all(|&byte| byte == thread));
                            allocator.dealloc(start, layout);
                        }
                    }
                });
            }
        });
    }
}
