//! The queue over a store in memory whose commits can be held up and made to fail.

mod support;

use std::time::Duration;

use bytes::Bytes;
use messages::{CloseReason, QueueConfig, QueueError};
use support::{TestStore, device, label, open, open_with};

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_in_time_never_reaches_the_store() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(7)).unwrap();
    let read = reader.read(10).await.unwrap();
    assert_eq!(read.len(), 1);
    reader.acknowledge(read[0].position);
    accepted.settled().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.commits(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_reader_leaves_unanswered_is_stored_and_then_deleted() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(7)).unwrap();
    let read = reader.read(10).await.unwrap();
    accepted.settled().await.unwrap();
    assert_eq!(store.stored(device(1)), 1, "the sender's answer came with the commit");
    assert!(reader.read(10).await.unwrap().is_empty(), "it is not handed out twice");
    reader.acknowledge(read[0].position);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.stored(device(1)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_later_gets_everything_in_order() {
    let (queue, _store) = open().await;
    for number in 0..250 {
        queue.append(device(1), label(number)).unwrap().settled().await.unwrap();
    }
    let waiting = queue.append(device(1), label(250)).unwrap();
    let mut reader = queue.subscribe(device(1));
    let mut numbers = Vec::new();
    loop {
        let page = reader.read(100).await.unwrap();
        if page.is_empty() {
            break;
        }
        numbers.extend(page.iter().map(|delivery| support::number(&delivery.envelope)));
    }
    assert_eq!(numbers, (0..=250).collect::<Vec<_>>());
    waiting.settled().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_sender_is_told_when_the_commit_fails() {
    let (queue, store) = open().await;
    store.fail(true);
    let outcome = queue.append(device(1), label(1)).unwrap().settled().await;
    assert!(matches!(outcome, Err(QueueError::Storage(_))));
    store.fail(false);
    queue.append(device(1), label(2)).unwrap().settled().await.unwrap();
    let mut reader = queue.subscribe(device(1));
    let read = reader.read(10).await.unwrap();
    assert_eq!(read.iter().map(|delivery| support::number(&delivery.envelope)).collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_during_the_commit_counts_at_once() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(1)).unwrap();
    let read = reader.read(10).await.unwrap();
    store.hold();
    tokio::time::sleep(Duration::from_millis(100)).await;
    reader.acknowledge(read[0].position);
    accepted.settled().await.unwrap();
    store.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.stored(device(1)), 0, "what the commit wrote is deleted again");
}

#[tokio::test(start_paused = true)]
async fn a_second_reader_takes_the_place_of_the_first_and_what_it_left() {
    let (queue, _store) = open().await;
    let mut first = queue.subscribe(device(1));
    let _accepted = queue.append(device(1), label(1)).unwrap();
    let read = first.read(10).await.unwrap();
    let mut second = queue.subscribe(device(1));
    assert_eq!(first.closed(), Some(CloseReason::ConnectedElsewhere));
    assert_eq!(second.read(10).await.unwrap(), read, "unacknowledged, hence delivered again");
    // The first one's answer may still arrive, and is good.
    first.acknowledge(read[0].position);
    drop(first);
    assert_eq!(second.closed(), None);
    let later = queue.append(device(1), label(2)).unwrap();
    let read = second.read(10).await.unwrap();
    assert_eq!(support::number(&read[0].envelope), 2);
    second.acknowledge(read[0].position);
    later.settled().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ephemeral_envelopes_reach_connected_readers_only_and_never_the_store() {
    let (queue, store) = open().await;
    queue.append_ephemeral(device(1), label(1)).unwrap();
    let mut reader = queue.subscribe(device(1));
    assert!(reader.read(10).await.unwrap().is_empty());
    queue.append_ephemeral(device(1), label(2)).unwrap();
    let read = reader.read(10).await.unwrap();
    assert!(read.len() == 1 && read[0].ephemeral);
    queue.append_ephemeral(device(1), label(3)).unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(reader.read(10).await.unwrap().is_empty(), "its time is over");
    for number in 0..1000 {
        queue.append_ephemeral(device(1), label(number)).unwrap();
    }
    let read = reader.read(1000).await.unwrap();
    assert!(read.len() <= 64, "a reader that takes none does not gather them");
    assert_eq!(support::number(&read.last().unwrap().envelope), 999);
    assert_eq!(store.commits(), 0);
}

#[tokio::test(start_paused = true)]
async fn senders_are_refused_while_too_much_waits_for_the_disk() {
    let config = QueueConfig { pending_bytes_max: 1000, ..QueueConfig::default() };
    let (queue, store) = open_with(TestStore::default(), config).await;
    store.hold();
    let first = queue.append(device(1), Bytes::from(vec![0; 900])).unwrap();
    assert!(matches!(queue.append(device(1), Bytes::from(vec![0; 200])), Err(QueueError::Overloaded)));
    store.release();
    first.settled().await.unwrap();
    queue.append(device(1), Bytes::from(vec![0; 200])).unwrap().settled().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_commits_what_waits() {
    let (queue, store) = open().await;
    let _reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(1)).unwrap();
    queue.close().await;
    accepted.settled().await.unwrap();
    assert_eq!(store.stored(device(1)), 1);
}

#[tokio::test(start_paused = true)]
async fn clearing_takes_what_was_there_and_leaves_what_comes() {
    let (queue, store) = open().await;
    queue.append(device(1), label(1)).unwrap().settled().await.unwrap();
    queue.append(device(2), label(2)).unwrap().settled().await.unwrap();
    let cutoff = support::later();
    queue.clear(device(1).aci, cutoff).await.unwrap();
    assert_eq!(store.stored(device(1)), 0);
    assert_eq!(store.stored(device(2)), 1, "another account's");
    queue.append(device(1), label(3)).unwrap().settled().await.unwrap();
    queue.clear(device(1).aci, support::start()).await.unwrap();
    assert_eq!(store.stored(device(1)), 1, "it came after the cutoff");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_answer_costs_its_senders_one_grace() {
    let (queue, _store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let began = tokio::time::Instant::now();
    for number in 0..50 {
        queue.append(device(1), label(number)).unwrap().settled().await.unwrap();
    }
    assert!(began.elapsed() < 2 * QueueConfig::default().grace);
    // Once it answers, it is given time again.
    let read = reader.read(100).await.unwrap();
    reader.acknowledge(read[0].position);
    let began = tokio::time::Instant::now();
    queue.append(device(1), label(50)).unwrap().settled().await.unwrap();
    assert_eq!(began.elapsed(), QueueConfig::default().grace);
}
