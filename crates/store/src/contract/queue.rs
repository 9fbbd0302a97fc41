//! What every [`QueueStore`] must do.

#![expect(clippy::expect_used, reason = "a suite for tests: an engine that fails is told where")]

use std::sync::Arc;

use bytes::Bytes;
use messages::{Append, Batch, Position, QueueStore, QueuedEnvelope, SharedBody, Volume};
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
        envelope: Bytes::from(vec![position.to_le_bytes()[0]; 100]).into(),
    }
}

/// An envelope that ends in the body of that id, of 1000 bytes.
fn sharing(device: DeviceAddress, position: u64, body: u64) -> Append {
    let bytes = Bytes::from(vec![body.to_le_bytes()[0]; 1000]);
    let shared = Some(SharedBody::stored(Position(body), bytes));
    Append {
        envelope: QueuedEnvelope { shared, ..append(device, position).envelope },
        ..append(device, position)
    }
}

async fn apply(store: &Store, appends: Vec<Append>, deletes: Vec<(DeviceAddress, Position)>) {
    store.apply(Batch { appends, deletes }).await.expect("the store accepts");
}

async fn volume(store: &Store, device: DeviceAddress) -> (u64, u64) {
    let Volume { envelopes, bytes } = store.volume(device.aci).await.expect("the store counts");
    (envelopes, bytes)
}

async fn fill(store: &Store, device: DeviceAddress, positions: impl IntoIterator<Item = u64>) {
    let appends = positions.into_iter().map(|position| append(device, position)).collect();
    apply(store, appends, Vec::new()).await;
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
    clears_more_than_it_does_at_once(&store).await;
    shared_ends_stay_with_the_last_envelope(&store).await;
    takes_many_long_ones_at_once(&store).await;
    counts_what_an_account_holds(&store).await;
    expires_the_oldest_of_all_devices(&store).await;
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

async fn clears_more_than_it_does_at_once(store: &Store) {
    let device = device(9, 1);
    fill(store, device, 20_000..23_000).await;
    store.clear(device.aci, None, Position(22_997)).await.expect("the store clears");
    assert_eq!(positions(store, device, 0).await, [22_998, 22_999]);
}

async fn shared_ends_stay_with_the_last_envelope(store: &Store) {
    let [first, second, third] = [1, 2, 3].map(|id| device(10, id));
    apply(store, vec![sharing(first, 601, 600), sharing(second, 602, 600)], Vec::new()).await;
    // Another batch may bring more of the same, and take some away.
    apply(store, vec![sharing(third, 603, 600)], vec![(first, Position(601))]).await;
    for (device, position) in [(second, 602), (third, 603)] {
        let page = store.read(device, Position(0), 10, PLENTY).await.expect("the store reads");
        assert_eq!(page.envelopes[0].envelope, sharing(device, position, 600).envelope);
    }
    apply(store, Vec::new(), vec![(second, Position(602)), (second, Position(602))]).await;
    let page = store.read(third, Position(0), 10, PLENTY).await.expect("the store reads");
    assert_eq!(page.envelopes[0].envelope.len(), 1100, "a deletion that is repeated counts once");
    store.clear(third.aci, None, Position(700)).await.expect("the store clears");
    apply(store, vec![sharing(first, 604, 600)], Vec::new()).await;
    let page = store.read(first, Position(0), 10, PLENTY).await.expect("the store reads");
    assert_eq!(page.envelopes[0].envelope.len(), 1100, "one that was forgotten can come again");
}

async fn takes_many_long_ones_at_once(store: &Store) {
    let devices = [device(14, 1), device(14, 2)];
    let long = |position: u64| {
        let bytes = Bytes::from(vec![position.to_le_bytes()[0]; 3_000]);
        let device = devices[usize::from(position.is_multiple_of(2))];
        Append { envelope: bytes.into(), ..append(device, position) }
    };
    apply(store, (25_000..25_200).map(long).collect(), Vec::new()).await;
    let deletes = (25_000..25_100).map(|position| (long(position).device, Position(position))).collect();
    apply(store, Vec::new(), deletes).await;
    for device in devices {
        let page = store.read(device, Position(0), 1_000, PLENTY).await.expect("the store reads");
        assert_eq!(page.envelopes.len(), 50);
        for stored in page.envelopes {
            let expected = long(stored.position.0);
            assert_eq!((stored.envelope, device), (expected.envelope, expected.device));
        }
    }
    assert_eq!(volume(store, devices[0]).await, (100, 300_000));
    store.clear(devices[0].aci, None, Position(26_000)).await.expect("the store clears");
    assert_eq!(volume(store, devices[0]).await, (0, 0));
}

async fn counts_what_an_account_holds(store: &Store) {
    let (first, second) = (device(11, 1), device(11, 2));
    assert_eq!(volume(store, first).await, (0, 0));
    fill(store, first, [801, 802]).await;
    apply(store, vec![sharing(second, 803, 800)], Vec::new()).await;
    assert_eq!(volume(store, first).await, (3, 1300), "with all its devices");
    apply(store, Vec::new(), vec![(first, Position(801))]).await;
    assert_eq!(volume(store, first).await, (2, 1200));
}

async fn expires_the_oldest_of_all_devices(store: &Store) {
    store.expire(Position(u64::MAX >> 2), usize::MAX >> 2).await.expect("the store expires");
    let (mine, other) = (device(12, 1), device(13, 1));
    fill(store, mine, [31_001, 31_003, 31_005]).await;
    apply(store, vec![sharing(other, 31_002, 31_000), sharing(mine, 31_004, 31_000)], Vec::new()).await;
    let expired = store.expire(Position(31_004), 3).await.expect("the store expires");
    assert_eq!(expired, Volume { envelopes: 3, bytes: 1300 });
    assert_eq!(positions(store, mine, 0).await, [31_004, 31_005]);
    assert_eq!(positions(store, other, 0).await, [0_u64; 0]);
    let page = store.read(mine, Position(0), 1, PLENTY).await.expect("the store reads");
    assert_eq!(page.envelopes[0].envelope.len(), 1100);
    let expired = store.expire(Position(31_004), 3).await.expect("the store expires");
    assert_eq!(expired, Volume { envelopes: 1, bytes: 1100 }, "fewer than the limit: that was all");
    assert_eq!(store.expire(Position(31_004), 3).await.expect("the store expires"), Volume::default());
    assert_eq!(positions(store, mine, 0).await, [31_005]);
}

async fn remembers<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let device = device(8, 1);
    fill(&open().await, device, [90_000]).await;
    let store = open().await;
    assert_eq!(positions(&store, device, 0).await, [90_000]);
    assert_eq!(store.last_position().await.expect("the store reads"), Position(90_000));
    apply(&store, vec![sharing(device, 90_001, 90_002)], Vec::new()).await;
    let last = open().await.last_position().await.expect("the store reads");
    assert_eq!(last, Position(90_002), "the name of a shared end is not given out again either");
}
