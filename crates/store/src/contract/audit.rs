//! What every [`AuditStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::sync::Arc;

use ::audit::{
    AuditStore,
    chain::{ChainKey, Head},
    record::{Entry, Record},
    verify::Verifier,
};
use protocol::ambient::Timestamp;

type Store = Arc<dyn AuditStore>;

fn entry(at: u64) -> Entry {
    Entry {
        at: Timestamp::from_millis(at),
        since: at.is_multiple_of(3).then(|| Timestamp::from_millis(at + 1)),
        count: 1 + u32::from(at.is_multiple_of(3)),
        by: "operator".into(),
        action: "test".into(),
        on: Some(format!("key:{at}").into()),
        outcome: "success".into(),
        detail: None,
        network: at.is_multiple_of(2).then(|| "192.0.2.0/24".into()),
    }
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart, and `key` is that of its chain.
pub async fn run<F, R>(open: F, key: ChainKey)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    assert_eq!(store.head().await.unwrap(), key.genesis());
    assert_eq!(store.read(0, 10).await.unwrap(), []);
    keeps_what_is_added(&store, &key).await;
    let head = store.head().await.unwrap();
    drop(store);
    let store = open().await;
    assert_eq!(store.head().await.unwrap(), head, "after opening it anew");
    chains_what_comes_together(&store, &key).await;
    removes_the_oldest(&store, &key).await;
    goes_on_when_all_has_expired(&store, &key).await;
}

/// Reads everything in small pages and verifies it.
async fn all(store: &Store, key: &ChainKey, known: Vec<Head>) -> Vec<Record> {
    let cut = store.cut().await.unwrap();
    let mut verifier = Verifier::new(key, cut, known).unwrap();
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.seq);
        let page = store.read(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        for record in &page {
            verifier.next(record).unwrap();
        }
        records.extend(page);
    }
    assert_eq!(verifier.finish().unwrap(), (store.head().await.unwrap(), records.len() as u64));
    records
}

async fn keeps_what_is_added(store: &Store, key: &ChainKey) {
    let first = store.append(vec![entry(1)]).await.unwrap();
    let second = store.append(vec![entry(2), entry(3)]).await.unwrap();
    assert_eq!((first.seq, second.seq), (1, 3));
    assert_eq!(store.append(vec![]).await.unwrap(), second);
    let records = all(store, key, vec![first, second]).await;
    let entries: Vec<_> = records.into_iter().map(|record| record.entry).collect();
    assert_eq!(entries, [entry(1), entry(2), entry(3)]);
    assert_eq!(store.read(2, 10).await.unwrap().len(), 1);
}

async fn chains_what_comes_together(store: &Store, key: &ChainKey) {
    let adds = (0..8).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.append(vec![entry(4), entry(5)]).await.unwrap() })
    });
    let mut heads = Vec::new();
    for add in adds.collect::<Vec<_>>() {
        heads.push(add.await.unwrap());
    }
    assert_eq!(all(store, key, heads).await.len(), 19);
}

async fn removes_the_oldest(store: &Store, key: &ChainKey) {
    let (before, now) = (Timestamp::from_millis(3), Timestamp::from_millis(100));
    assert_eq!(store.expire(Timestamp::from_millis(1), now, 10).await.unwrap(), 0);
    assert_eq!(store.cut().await.unwrap(), None);
    assert_eq!(store.expire(before, now, 1).await.unwrap(), 1);
    assert_eq!(store.expire(before, now, 10).await.unwrap(), 1);
    assert_eq!(store.expire(before, now, 10).await.unwrap(), 0);
    let cut = store.cut().await.unwrap().unwrap();
    assert_eq!((cut.head.seq, cut.at), (2, now));
    let records = all(store, key, vec![]).await;
    assert_eq!((records.len(), &records[0].entry), (17, &entry(3)));
}

async fn goes_on_when_all_has_expired(store: &Store, key: &ChainKey) {
    // One that is older than those before it keeps its place.
    store.append(vec![entry(1)]).await.unwrap();
    assert_eq!(store.expire(Timestamp::from_millis(3), Timestamp::from_millis(101), 100).await.unwrap(), 0);
    let head = store.head().await.unwrap();
    let (before, now) = (Timestamp::from_millis(50), Timestamp::from_millis(102));
    assert_eq!(store.expire(before, now, 100).await.unwrap(), 18);
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.append(vec![entry(6)]).await.unwrap().seq, head.seq + 1);
    assert_eq!(all(store, key, vec![head]).await.len(), 1);
}
