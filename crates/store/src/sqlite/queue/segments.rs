//! Files beside the database, in which envelopes lie that were stored many at once.
//!
//! A database writes what it is given twice and in pages: to its log, and from there to its place; and deleting one row
//! writes the page of all its neighbours. A segment is written once, at its end, in one piece for all that is stored
//! together, and is deleted as a whole. It is synced before the rows are committed that say where each envelope lies, so
//! that the rows alone decide what there is: what none of them names, such as the last piece before a crash, is not there.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::ambient::StorageError;

/// Bytes after which a segment is left and another begun.
const SEGMENT_MAX: u64 = 64 * 1024 * 1024;

/// Segments kept open to be read.
const OPEN_MAX: usize = 64;

const EXTENSION: &str = "envelopes";

/// Where an envelope lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) segment: i64,
    pub(super) at: i64,
    pub(super) length: i64,
}

impl Spot {
    /// Bytes that lie there.
    pub(super) fn bytes(self) -> usize {
        usize::try_from(self.length).unwrap_or_default()
    }

    /// Up to and including a spot behind this one, if that begins where this one ends.
    pub(super) fn joined(self, next: Self) -> Option<Self> {
        let adjoins = self.segment == next.segment && self.at.checked_add(self.length) == Some(next.at);
        // What a row says is not relied on.
        let sound = self.length >= 0 && next.length >= 0;
        let length = self.length.checked_add(next.length).filter(|_| adjoins && sound)?;
        Some(Self { length, ..self })
    }
}

/// The segments of one database.
pub(super) struct Segments {
    folder: PathBuf,
    writing: Mutex<Writing>,
    reading: Mutex<HashMap<i64, Arc<File>>>,
    /// How many pieces of each segment wait for their rows.
    rowless: Arc<Mutex<HashMap<i64, usize>>>,
}

/// The segment that is being written.
struct Writing {
    /// The highest number given to a segment so far.
    id: i64,
    /// None before the first piece, and after a failure: what follows goes to another segment.
    file: Option<File>,
    len: u64,
}

/// A piece of a segment that has been written and has no rows yet. Its segment is not given up meanwhile.
pub(super) struct Piece {
    pub(super) segment: i64,
    pub(super) at: i64,
    rowless: Arc<Mutex<HashMap<i64, usize>>>,
}

/// Reads one spot after another, most of which lie in the same segment.
pub(super) struct Reader<'a> {
    segments: &'a Segments,
    last: Option<(i64, Arc<File>)>,
}

impl Segments {
    /// The segments in that folder, which is made if it is not there. New ones are numbered from the one after `last` or
    /// after all that are there, whichever is higher: a row may name one whose file is lost.
    pub(super) fn open(folder: &Path, last: i64) -> io::Result<Self> {
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(folder)?;
            // Its own name must be there after a crash as well.
            if let Some(parent) = folder.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        let segments = Self {
            folder: folder.to_owned(),
            writing: Mutex::new(Writing { id: 0, file: None, len: 0 }),
            reading: Mutex::default(),
            rowless: Arc::default(),
        };
        // What an earlier run has written is read and not written to: its end may be half a piece.
        segments.writing.lock().id = segments.on_disk()?.last().map_or(last, |&there| there.max(last));
        Ok(segments)
    }

    /// Writes a piece at the end, and waits until it is on disk.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<Piece, StorageError> {
        let mut writing = self.writing.lock();
        let appended = self.append_to(&mut writing, bytes);
        if appended.is_err() {
            // Whatever has become of the piece, nothing will follow it. Half of it need not take room.
            if let Some(file) = writing.file.take() {
                let _ = file.set_len(writing.len);
            }
        }
        appended.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
            _ => StorageError::unavailable(error),
        })
    }

    fn append_to(&self, writing: &mut Writing, bytes: &[u8]) -> io::Result<Piece> {
        let file = match &writing.file {
            Some(file) if writing.len < SEGMENT_MAX => file,
            _ => {
                (writing.file, writing.len) = (None, 0);
                writing.id += 1;
                let mut options = OpenOptions::new();
                let made = options.write(true).create_new(true).mode(0o600).open(self.path(writing.id))?;
                // The file's name must be there after a crash as well.
                File::open(&self.folder)?.sync_all()?;
                writing.file.insert(made)
            }
        };
        file.write_all_at(bytes, writing.len)?;
        file.sync_data()?;
        let at = i64::try_from(writing.len).map_err(io::Error::other)?;
        writing.len += bytes.len() as u64;
        *self.rowless.lock().entry(writing.id).or_default() += 1;
        Ok(Piece { segment: writing.id, at, rowless: Arc::clone(&self.rowless) })
    }

    /// Reads what lies there.
    pub(super) fn read(&self, spot: Spot) -> io::Result<Bytes> {
        Reader::new(self).read(spot)
    }

    fn file(&self, segment: i64) -> io::Result<Arc<File>> {
        let mut reading = self.reading.lock();
        if let Some(file) = reading.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.path(segment))?);
        if reading.len() >= OPEN_MAX {
            reading.clear();
        }
        reading.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    /// The segments that are not written to any more and whose rows have all been committed.
    pub(super) fn finished(&self) -> io::Result<BTreeSet<i64>> {
        // Held until the end: a segment that is begun meanwhile would look finished.
        let writing = self.writing.lock();
        let written = writing.file.is_some().then_some(writing.id);
        let mut finished = self.on_disk()?;
        let rowless = self.rowless.lock();
        finished.retain(|id| Some(*id) != written && !rowless.contains_key(id));
        Ok(finished)
    }

    /// Whether there is a file of that segment.
    pub(super) fn is_there(&self, id: i64) -> bool {
        self.path(id).exists()
    }

    /// Bytes of a segment, and how long ago it was written to.
    pub(super) fn measure(&self, id: i64) -> io::Result<(u64, Duration)> {
        let metadata = fs::metadata(self.path(id))?;
        // A clock that was set back makes it look younger, and it is kept longer.
        Ok((metadata.len(), metadata.modified()?.elapsed().unwrap_or_default()))
    }

    /// Deletes a segment in which nothing lies any more.
    pub(super) fn remove(&self, id: i64) -> io::Result<()> {
        self.reading.lock().remove(&id);
        fs::remove_file(self.path(id))
    }

    fn on_disk(&self) -> io::Result<BTreeSet<i64>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let id = stem.and_then(|stem| stem.parse::<i64>().ok());
            found.extend(id.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)));
        }
        Ok(found)
    }

    fn path(&self, id: i64) -> PathBuf {
        self.folder.join(format!("{id:08}.{EXTENSION}"))
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(segments: &'a Segments) -> Self {
        Self { segments, last: None }
    }

    /// Reads what lies there.
    pub(super) fn read(&mut self, Spot { segment, at, length }: Spot) -> io::Result<Bytes> {
        let wrong = |_| io::Error::from(io::ErrorKind::InvalidData);
        let file = match &self.last {
            Some((id, file)) if *id == segment => file,
            _ => &self.last.insert((segment, self.segments.file(segment)?)).1,
        };
        let mut bytes = vec![0; usize::try_from(length).map_err(wrong)?];
        file.read_exact_at(&mut bytes, u64::try_from(at).map_err(wrong)?)?;
        Ok(bytes.into())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut rowless = self.rowless.lock();
        if let Some(count) = rowless.get_mut(&self.segment) {
            *count -= 1;
            if *count == 0 {
                rowless.remove(&self.segment);
            }
        }
    }
}
