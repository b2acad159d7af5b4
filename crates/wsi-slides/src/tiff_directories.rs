//! The directories of a TIFF file: the chain of its pages, and those below one of them.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{BufReader, Seek};

use tiff::decoder::{Decoder, Limits};
use tiff::tags::{IfdPointer, Tag};

use crate::error::{Error, ErrorKind, Result};
use crate::tiff_entries::{self, MOST_PAGES};
use crate::tiff_page::{Page, read_page};
use crate::tiff_tags::{fault_at, structure};

/// Offsets and lengths of every tile of the largest slides fit well within.
const LARGEST_VALUE: u64 = 256 << 20;
/// What the values of a directory of a small file may take, since some are held in more bytes than the file has.
const SMALLEST_LIMIT: u64 = 1 << 20;

/// Directories that are left out before the file is refused: each costs a reading of its values, and may share them with others.
const MOST_LEFT_OUT: usize = 256;

/// A file whose directories are read, and what of them could not be.
pub(crate) struct Directories {
    decoder: Decoder<BufReader<File>>,
    /// Bytes of the file.
    length: u64,
    /// Bytes of the values that were kept.
    stored: u64,
    /// Why directories were left out.
    unread: Vec<Error>,
}

impl Directories {
    /// Looks over the chain of directories of a file of `length` bytes.
    pub(crate) fn open(file: &File, length: u64) -> Result<Self> {
        tiff_entries::check(file, length)?;
        let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
        let mut handle = file.try_clone().map_err(failed)?;
        handle.rewind().map_err(failed)?;
        let decoder =
            Decoder::new(BufReader::new(handle)).map_err(|source| structure("directory 0", source))?;
        let mut limits = Limits::default();
        let largest_value = length.clamp(SMALLEST_LIMIT, LARGEST_VALUE);
        limits.decoding_buffer_size = usize::try_from(largest_value).unwrap_or(usize::MAX);
        Ok(Self { decoder: decoder.with_limits(limits), length, stored: 0, unread: Vec::new() })
    }

    /// The pages of the chain, in its order.
    ///
    /// The first must be whole, and so must those in tiles, which may be levels. Another that is not is left out where there are tiles:
    /// labels and macro images are blanked in many ways, and a file is a slide without them.
    pub(crate) fn chain(&mut self) -> Result<Vec<Page>> {
        let mut pages: Vec<Page> = Vec::new();
        let mut next = self.decoder.ifd_pointer();
        for number in 0.. {
            let Some(pointer) = next else { break };
            let place = format!("directory {number}");
            let directory =
                self.decoder.read_directory(pointer).map_err(|source| structure(&place, source))?;
            match read_page(&mut self.decoder, &directory, &place) {
                Ok(page) => pages.push(self.counted(page, &place)?),
                Err(error) if number == 0 || directory.contains(Tag::TileWidth) => return Err(error),
                Err(error) => self.leave_out(error)?,
            }
            next = directory.next();
        }
        match self.unread.pop() {
            // Of strips, the one that is left out may be the slide.
            Some(error) if pages.iter().all(|page| !page.is_tiled) => Err(error),
            error => {
                self.unread.extend(error);
                Ok(pages)
            }
        }
    }

    /// The pages below one of the chain.
    ///
    /// One that is not whole is left out: viewers fill that tag with anything, and a file is a slide without it.
    pub(crate) fn below(&mut self, page: &Page) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        for (number, pointer) in page.sub_pages.iter().take(MOST_PAGES).enumerate() {
            let place = format!("directory {number} below {}", page.place);
            match self.read_below(*pointer, &place) {
                Ok(page) => pages.push(self.counted(page, &place)?),
                Err(error) => self.leave_out(error)?,
            }
        }
        Ok(pages)
    }

    fn read_below(&mut self, pointer: IfdPointer, place: &str) -> Result<Page> {
        if pointer.0 >= self.length {
            let fault = format!("it lies at byte {}, but the file has {}", pointer.0, self.length);
            return Err(fault_at(place, fault));
        }
        let directory = self.decoder.read_directory(pointer).map_err(|source| structure(place, source))?;
        read_page(&mut self.decoder, &directory, place)
    }

    /// Directories may point to the same values over and over; of an honest file, most bytes are pixels.
    fn counted(&mut self, page: Page, place: &str) -> Result<Page> {
        self.stored += page.stored_bytes();
        if self.stored > self.length {
            return Err(fault_at(place, "its values are larger than the file".to_owned()));
        }
        Ok(page)
    }

    /// Keeps the fault of a directory, unless it is one that the system reports, which may be gone the next time, or one of very many.
    fn leave_out(&mut self, error: Error) -> Result<()> {
        if is_of_the_system(&error) || self.unread.len() == MOST_LEFT_OUT {
            return Err(error);
        }
        self.unread.push(error);
        Ok(())
    }

    /// How many directories were left out, and why the first was.
    pub(crate) fn told(&self) -> Option<String> {
        let first = self.unread.first()?;
        let cause = first.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
        Some(match self.unread.len() {
            1 => format!("{first}{cause}"),
            n => format!("{n}, the first being {first}{cause}"),
        })
    }
}

/// Whether a fault is one that the system reports, which says nothing of the file.
fn is_of_the_system(error: &Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| StdError::source(*cause));
    causes.any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.raw_os_error().is_some())
    })
}
