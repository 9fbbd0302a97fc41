//! Envelopes that are stored many at once: where they lie, and what becomes of that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use messages::{Append, Batch, Position, QueueStore, SharedBody};
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{SeededEntropy, StorageError},
};
use rusqlite::Connection;
use store::sqlite::{Database, Schema, SqliteQueue};
use tempfile::TempDir;
use uuid::Uuid;
use vault::{Keyring, Vault};

const LEN: usize = 2_000;

/// A store that can be opened again and again.
struct Store {
    directory: TempDir,
    vault: Vault,
}

impl Store {
    fn new() -> Self {
        let entropy = Arc::new(SeededEntropy::new(1));
        let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy);
        Self { directory: tempfile::tempdir().unwrap(), vault }
    }

    async fn open(&self) -> SqliteQueue {
        let database = Database::open(&self.directory.path().join("messages.sqlite"), Schema::Messages, true);
        SqliteQueue::open(Arc::new(database.unwrap()), &self.folder(), self.vault.clone()).await.unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.directory.path().join("messages")
    }

    fn segments(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn segment(&self, name: &str) -> File {
        File::options().write(true).open(self.folder().join(name)).unwrap()
    }

    /// Makes a segment that was written to just now two hours older.
    fn age(&self, name: &str) {
        let file = self.segment(name);
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - Duration::from_hours(2)).unwrap();
    }

    fn table(&self) -> Connection {
        Connection::open(self.directory.path().join("messages.sqlite")).unwrap()
    }

    /// The segments that the table knows of.
    fn noted(&self) -> Vec<i64> {
        let table = self.table();
        let mut select = table.prepare("SELECT id FROM messages_segments ORDER BY id").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// How many envelopes lie in segments, and how many in their rows.
    fn placed(&self) -> (u32, u32) {
        self.table()
            .query_row(
                "SELECT count(segment), count(*) FILTER (WHERE length(envelope) > 0) FROM messages_queue",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap()
    }
}

fn device() -> DeviceAddress {
    DeviceAddress { aci: Aci(Uuid::from_u128(1)), device_id: DeviceId::PRIMARY }
}

fn append(position: u64, len: usize) -> Append {
    let envelope = Bytes::from(vec![position.to_le_bytes()[0]; len]).into();
    Append { device: device(), position: Position(position), envelope }
}

async fn store(queue: &SqliteQueue, positions: impl IntoIterator<Item = u64>) {
    let appends = positions.into_iter().map(|position| append(position, LEN)).collect();
    queue.apply(Batch { appends, deletes: Vec::new() }).await.unwrap();
}

async fn delete(queue: &SqliteQueue, positions: impl IntoIterator<Item = u64>) {
    let deletes = positions.into_iter().map(|position| (device(), Position(position))).collect();
    queue.apply(Batch { appends: Vec::new(), deletes }).await.unwrap();
}

/// What the queue hands out, each envelope checked.
async fn positions(queue: &SqliteQueue) -> Vec<u64> {
    let page = queue.read(device(), Position(0), 10_000, 100_000_000).await.unwrap();
    for stored in &page.envelopes {
        assert_eq!(stored.envelope, append(stored.position.0, stored.envelope.len()).envelope);
    }
    page.envelopes.iter().map(|stored| stored.position.0).collect()
}

/// Has the segments looked at, which goes with the expiry.
async fn tidy(queue: &SqliteQueue) {
    queue.expire(Position(0), 1).await.unwrap();
}

#[tokio::test]
async fn many_at_once_lie_in_a_segment_and_few_in_their_rows() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=100).await;
    store(&queue, 101..=103).await;
    assert_eq!(files.placed(), (100, 3));
    assert_eq!(files.segments(), ["00000001.envelopes"]);
    // Short ones are not worth being told where they are.
    let short =
        Batch { appends: (104..=203).map(|position| append(position, 100)).collect(), deletes: vec![] };
    queue.apply(short).await.unwrap();
    assert_eq!(files.placed(), (100, 103));
    assert_eq!(positions(&queue).await, (1..=203).collect::<Vec<_>>());
    drop(queue);

    let queue = files.open().await;
    assert_eq!(positions(&queue).await, (1..=203).collect::<Vec<_>>());
    store(&queue, 301..=400).await;
    assert_eq!(files.segments(), ["00000001.envelopes", "00000002.envelopes"], "an old one is left alone");
    assert_eq!(positions(&queue).await.len(), 303);
}

#[tokio::test]
async fn what_each_device_gets_lies_side_by_side_and_is_read_in_its_order() {
    let files = Store::new();
    let queue = files.open().await;
    let of = |id: u32| DeviceAddress { device_id: DeviceId::try_from(id).unwrap(), ..device() };
    let shared = SharedBody::stored(Position(1_000), Bytes::from(vec![7; 500]));
    let body_of = |position: u64| (position.is_multiple_of(7)).then(|| shared.clone());
    let appends = (1..=150).map(|position| {
        // Every tenth lies in its row, between others that do not.
        let mut append = append(position, if position.is_multiple_of(10) { 50 } else { LEN });
        append.device = of(u32::try_from(position % 3).unwrap() + 1);
        append.envelope.shared = body_of(position);
        append
    });
    let appends: Vec<_> = appends.collect();
    queue.apply(Batch { appends: appends.clone(), deletes: Vec::new() }).await.unwrap();
    let in_file: Vec<(u32, i64)> = {
        let table = files.table();
        let mut select = table
            .prepare("SELECT device, position FROM messages_queue WHERE segment IS NOT NULL ORDER BY at")
            .unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert!(in_file.is_sorted() && in_file.len() == 135, "{in_file:?}");
    for id in [1, 2, 3] {
        let page = queue.read(of(id), Position(0), 100, 100_000_000).await.unwrap();
        let expected = appends.iter().filter(|append| append.device == of(id));
        let expected: Vec<_> = expected.map(|append| (append.position, append.envelope.clone())).collect();
        let read: Vec<_> =
            page.envelopes.into_iter().map(|stored| (stored.position, stored.envelope)).collect();
        assert_eq!(read, expected);
        let page = queue.read(of(id), Position(0), 100, 3 * LEN).await.unwrap();
        assert_eq!((page.envelopes.len(), page.more), (3, true), "no more than asked for");
    }
}

#[tokio::test]
async fn nothing_of_an_envelope_can_be_read_in_a_segment() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=100).await;
    let bytes = fs::read(files.folder().join("00000001.envelopes")).unwrap();
    assert!(bytes.len() > 100 * LEN);
    assert!(!bytes.windows(8).any(|window| window.iter().all(|byte| *byte == window[0])));
}

#[tokio::test]
async fn a_segment_goes_when_nothing_lies_in_it() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=100).await;
    delete(&queue, 1..=100).await;
    tidy(&queue).await;
    assert_eq!(files.segments().len(), 1, "it is being written to");
    drop(queue);

    let queue = files.open().await;
    store(&queue, 201..=300).await;
    tidy(&queue).await;
    assert_eq!(files.segments(), ["00000002.envelopes"]);
    assert_eq!(files.noted(), [2]);
    assert_eq!(positions(&queue).await, (201..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_left_in_a_segment_that_is_nearly_empty_moves_into_the_rows() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=200).await;
    delete(&queue, 1..=190).await;
    drop(queue);

    let queue = files.open().await;
    tidy(&queue).await;
    assert_eq!(files.placed(), (10, 0), "a backup may be under way that needs it");
    drop(queue);

    let queue = files.open().await;
    files.age("00000001.envelopes");
    tidy(&queue).await;
    assert_eq!(files.placed(), (0, 10));
    assert_eq!(files.segments(), [""; 0]);
    assert_eq!(positions(&queue).await, (191..=200).collect::<Vec<_>>());
    delete(&queue, 191..=200).await;
    assert_eq!(positions(&queue).await, [0; 0]);
}

#[tokio::test]
async fn what_is_left_in_a_segment_that_is_not_nearly_empty_stays() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=200).await;
    delete(&queue, 1..=120).await;
    drop(queue);

    let queue = files.open().await;
    files.age("00000001.envelopes");
    tidy(&queue).await;
    assert_eq!(files.placed(), (80, 0));
}

#[tokio::test]
async fn one_file_that_is_lost_or_cut_short_holds_nothing_else_up() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, 1..=100).await;
    drop(queue);
    let queue = files.open().await;
    store(&queue, 101..=200).await;
    store(&queue, [201]).await;
    drop(queue);

    let whole = files.folder().join("00000001.envelopes");
    let away = files.directory.path().join("away");
    fs::rename(&whole, &away).unwrap();
    files.segment("00000002.envelopes").set_len(50 * 2_000).unwrap();
    let queue = files.open().await;
    tidy(&queue).await;
    let found = positions(&queue).await;
    assert!(found.len() > 40 && found.len() < 55, "{found:?}");
    assert_eq!((found.first(), found.last()), (Some(&101), Some(&201)));
    let page = queue.read(device(), Position(0), 10, 100_000_000).await.unwrap();
    assert_eq!((page.envelopes.len(), page.more), (10, true), "a small page goes on behind what is lost");
    assert_eq!(page.envelopes[0].position, Position(101));
    store(&queue, 301..=400).await;
    assert_eq!(files.segments(), ["00000002.envelopes", "00000003.envelopes"]);
    // The rows stay: whoever finds the file again has the messages again.
    fs::rename(&away, &whole).unwrap();
    assert_eq!(positions(&queue).await[..100], (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_written_for_a_batch_that_failed_is_not_there() {
    let files = Store::new();
    let queue = files.open().await;
    store(&queue, [1]).await;
    let twice = Batch { appends: (1..=100).map(|position| append(position, LEN)).collect(), deletes: vec![] };
    assert!(queue.apply(twice).await.is_err(), "a position is taken");
    assert_eq!(positions(&queue).await, [1]);
    store(&queue, 2..=101).await;
    assert_eq!(positions(&queue).await, (1..=101).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_folder_that_is_away_refuses_and_nothing_is_half_there() {
    let files = Store::new();
    let queue = files.open().await;
    let away = files.directory.path().join("away");
    fs::rename(files.folder(), &away).unwrap();
    let many =
        || Batch { appends: (1..=100).map(|position| append(position, LEN)).collect(), deletes: vec![] };
    assert!(queue.apply(many()).await.is_err());
    assert_eq!(positions(&queue).await, [0; 0]);
    fs::rename(&away, files.folder()).unwrap();
    queue.apply(many()).await.unwrap();
    assert_eq!(positions(&queue).await.len(), 100);
}

/// A file system of two megabytes at that folder, until it is dropped; none where this user may not mount one.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Option<Self> {
        let arguments = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=16m"]).arg(self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.0).status().is_ok());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_nothing_back() {
    let files = Store::new();
    let queue = files.open().await;
    let folder = files.folder();
    let Some(disk) = SmallDisk::mount(&folder) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let mut accepted = Vec::new();
    for batch in 0..20 {
        let positions = batch * 100 + 1..=batch * 100 + 100;
        let appends = positions.clone().map(|position| append(position, LEN)).collect();
        match queue.apply(Batch { appends, deletes: Vec::new() }).await {
            Ok(()) => accepted.extend(positions),
            Err(error) => assert!(matches!(error, StorageError::Full), "{error}"),
        }
    }
    assert!(!accepted.is_empty() && accepted.len() < 1_200, "{} in two megabytes", accepted.len());
    assert_eq!(positions(&queue).await, accepted);
    disk.grow();
    store(&queue, 5_001..=5_100).await;
    accepted.extend(5_001..=5_100);
    drop(queue);
    let queue = files.open().await;
    assert_eq!(positions(&queue).await, accepted);
}
