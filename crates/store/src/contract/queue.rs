//! What every [`QueueStore`] must do.

#![expect(clippy::expect_used, reason = "a suite for tests: an engine that fails is told where")]

use std::sync::Arc;

use bytes::Bytes;
use messages::{Append, Batch, Position, QueueStore};
use protocol::{Aci, DeviceAddress, DeviceId};
use uuid::Uuid;

type Store = Arc<dyn QueueStore>;

const PLENTY: usize = usize::MAX;

fn device(aci: u128, id: u32) -> DeviceAddress {
    let device_id = DeviceId::try_from(id).unwrap_or(DeviceId::PRIMARY);
    DeviceAddress { aci: Aci(Uuid::from_u128(aci)), device_id }
}

fn append(device: DeviceAddress, position: u64) -> Append {
    Append {
        device,
        position: Position(position),
        envelope: Bytes::from(vec![position.to_le_bytes()[0]; 100]),
    }
}

async fn fill(store: &Store, device: DeviceAddress, positions: impl IntoIterator<Item = u64>) {
    let appends = positions.into_iter().map(|position| append(device, position)).collect();
    store.apply(Batch { appends, deletes: Vec::new() }).await.expect("the store accepts");
}

async fn positions(store: &Store, device: DeviceAddress, after: u64) -> Vec<u64> {
    let page = store.read(device, Position(after), PLENTY >> 2, PLENTY).await.expect("the store reads");
    page.envelopes.iter().map(|stored| stored.position.0).collect()
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    reads_in_order_after_the_cursor(&store).await;
    keeps_devices_apart(&store).await;
    pages_by_count_and_by_bytes(&store).await;
    deletes_what_it_is_told_and_no_more(&store).await;
    a_batch_is_all_or_nothing(&store).await;
    clears_up_to_a_position(&store).await;
    drop(store);
    remembers(open).await;
}

async fn reads_in_order_after_the_cursor(store: &Store) {
    let device = device(1, 1);
    fill(store, device, [30, 10, 20]).await;
    assert_eq!(positions(store, device, 0).await, [10, 20, 30]);
    assert_eq!(positions(store, device, 10).await, [20, 30]);
    assert_eq!(positions(store, device, 30).await, [0_u64; 0]);
    let page = store.read(device, Position(0), 10, PLENTY).await.expect("the store reads");
    assert_eq!(page.envelopes[0].envelope, append(device, 10).envelope);
    assert!(!page.more);
}

async fn keeps_devices_apart(store: &Store) {
    fill(store, device(2, 1), [101]).await;
    fill(store, device(2, 2), [102]).await;
    fill(store, device(3, 1), [103]).await;
    assert_eq!(positions(store, device(2, 1), 0).await, [101]);
    assert_eq!(positions(store, device(2, 2), 0).await, [102]);
}

async fn pages_by_count_and_by_bytes(store: &Store) {
    let device = device(4, 1);
    fill(store, device, 200..210).await;
    let page = store.read(device, Position(0), 4, PLENTY).await.expect("the store reads");
    assert_eq!((page.envelopes.len(), page.more), (4, true));
    let page = store.read(device, Position(0), 10, PLENTY).await.expect("the store reads");
    assert_eq!((page.envelopes.len(), page.more), (10, false), "a page that just fits is not cut");
    let page = store.read(device, Position(0), 10, 1).await.expect("the store reads");
    assert_eq!((page.envelopes.len(), page.more), (1, true), "a page holds at least one envelope");
}

async fn deletes_what_it_is_told_and_no_more(store: &Store) {
    let (own, other) = (device(5, 1), device(5, 2));
    fill(store, own, [301, 302]).await;
    let deletes = vec![(other, Position(301)), (own, Position(302)), (own, Position(999))];
    store.apply(Batch { appends: Vec::new(), deletes }).await.expect("what is not there is passed over");
    assert_eq!(positions(store, own, 0).await, [301], "another device cannot delete it");
}

async fn a_batch_is_all_or_nothing(store: &Store) {
    let device = device(6, 1);
    fill(store, device, [401]).await;
    let appends = vec![append(device, 402), append(device, 401)];
    let batch = Batch { appends, deletes: vec![(device, Position(401))] };
    assert!(store.apply(batch).await.is_err(), "a position is taken");
    assert_eq!(positions(store, device, 0).await, [401]);
}

async fn clears_up_to_a_position(store: &Store) {
    let (first, second) = (device(7, 1), device(7, 2));
    fill(store, first, [501, 502, 503]).await;
    fill(store, second, [511]).await;
    store.clear(first.aci, Some(first.device_id), Position(502)).await.expect("the store clears");
    assert_eq!(positions(store, first, 0).await, [503]);
    store.clear(first.aci, None, Position(600)).await.expect("the store clears");
    assert_eq!(positions(store, first, 0).await, [0_u64; 0]);
    assert_eq!(positions(store, second, 0).await, [0_u64; 0]);
}

async fn remembers<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let device = device(8, 1);
    fill(&open().await, device, [9_000]).await;
    let store = open().await;
    assert_eq!(positions(&store, device, 0).await, [9_000]);
    assert_eq!(store.last_position().await.expect("the store reads"), Position(9_000));
}
