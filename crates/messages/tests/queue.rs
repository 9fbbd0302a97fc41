//! The queue over a store in memory whose commits can be held up and made to fail.

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use messages::{
    CloseReason, QueueConfig, QueueError, QueuedEnvelope, Urgency, Volume, WakeUpConfig, WakeUps, Waker,
    metrics::WakeUpMetrics,
};
use parking_lot::Mutex;
use protocol::{DeviceAddress, ambient::ManualClock};
use support::{TestStore, device, label, open, open_at, open_waking, open_with, start};

const URGENT: Urgency = Urgency::Urgent;

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_in_time_never_reaches_the_store() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(7), URGENT).unwrap();
    let read = reader.read(10).await.unwrap();
    assert_eq!(read.len(), 1);
    reader.acknowledge(&[read[0].position]);
    accepted.settled().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.commits(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_reader_leaves_unanswered_is_stored_and_then_deleted() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(7), URGENT).unwrap();
    let read = reader.read(10).await.unwrap();
    accepted.settled().await.unwrap();
    assert_eq!(store.stored(device(1)), 1, "the sender's answer came with the commit");
    assert!(reader.read(10).await.unwrap().is_empty(), "it is not handed out twice");
    reader.acknowledge(&[read[0].position]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.stored(device(1)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_later_gets_everything_in_order() {
    let (queue, _store) = open().await;
    for number in 0..250 {
        queue.append(device(1), label(number), URGENT).unwrap().settled().await.unwrap();
    }
    let waiting = queue.append(device(1), label(250), URGENT).unwrap();
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
    let outcome = queue.append(device(1), label(1), URGENT).unwrap().settled().await;
    assert!(matches!(outcome, Err(QueueError::Storage(_))));
    store.fail(false);
    queue.append(device(1), label(2), URGENT).unwrap().settled().await.unwrap();
    let mut reader = queue.subscribe(device(1));
    let read = reader.read(10).await.unwrap();
    assert_eq!(read.iter().map(|delivery| support::number(&delivery.envelope)).collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_during_the_commit_counts_at_once() {
    let (queue, store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(1), URGENT).unwrap();
    let read = reader.read(10).await.unwrap();
    store.hold();
    tokio::time::sleep(Duration::from_millis(100)).await;
    reader.acknowledge(&[read[0].position]);
    accepted.settled().await.unwrap();
    store.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.stored(device(1)), 0, "what the commit wrote is deleted again");
}

#[tokio::test(start_paused = true)]
async fn a_second_reader_takes_the_place_of_the_first_and_what_it_left() {
    let (queue, _store) = open().await;
    let mut first = queue.subscribe(device(1));
    let _accepted = queue.append(device(1), label(1), URGENT).unwrap();
    let read = first.read(10).await.unwrap();
    let mut second = queue.subscribe(device(1));
    assert_eq!(first.closed(), Some(CloseReason::ConnectedElsewhere));
    assert_eq!(second.read(10).await.unwrap(), read, "unacknowledged, hence delivered again");
    // The first one's answer may still arrive, and is good.
    first.acknowledge(&[read[0].position]);
    drop(first);
    assert_eq!(second.closed(), None);
    let later = queue.append(device(1), label(2), URGENT).unwrap();
    let read = second.read(10).await.unwrap();
    assert_eq!(support::number(&read[0].envelope), 2);
    second.acknowledge(&[read[0].position]);
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
    let first = queue.append(device(1), Bytes::from(vec![0; 900]), URGENT).unwrap();
    assert!(matches!(
        queue.append(device(1), Bytes::from(vec![0; 200]), URGENT),
        Err(QueueError::Overloaded)
    ));
    store.release();
    first.settled().await.unwrap();
    queue.append(device(1), Bytes::from(vec![0; 200]), URGENT).unwrap().settled().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_commits_what_waits() {
    let (queue, store) = open().await;
    let _reader = queue.subscribe(device(1));
    let accepted = queue.append(device(1), label(1), URGENT).unwrap();
    queue.close().await;
    accepted.settled().await.unwrap();
    assert_eq!(store.stored(device(1)), 1);
}

#[tokio::test(start_paused = true)]
async fn clearing_takes_what_was_there_and_leaves_what_comes() {
    let (queue, store) = open().await;
    queue.append(device(1), label(1), URGENT).unwrap().settled().await.unwrap();
    queue.append(device(2), label(2), URGENT).unwrap().settled().await.unwrap();
    let cutoff = support::later();
    queue.clear(device(1).aci, cutoff).await.unwrap();
    assert_eq!(store.stored(device(1)), 0);
    assert_eq!(store.stored(device(2)), 1, "another account's");
    queue.append(device(1), label(3), URGENT).unwrap().settled().await.unwrap();
    queue.clear(device(1).aci, start()).await.unwrap();
    assert_eq!(store.stored(device(1)), 1, "it came after the cutoff");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_answer_costs_its_senders_one_grace() {
    let (queue, _store) = open().await;
    let mut reader = queue.subscribe(device(1));
    let began = tokio::time::Instant::now();
    for number in 0..50 {
        queue.append(device(1), label(number), URGENT).unwrap().settled().await.unwrap();
    }
    assert!(began.elapsed() < 2 * QueueConfig::default().grace);
    // Once it answers, it is given time again.
    let read = reader.read(100).await.unwrap();
    reader.acknowledge(&[read[0].position]);
    let began = tokio::time::Instant::now();
    queue.append(device(1), label(50), URGENT).unwrap().settled().await.unwrap();
    assert_eq!(began.elapsed(), QueueConfig::default().grace);
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_answers_are_late_costs_its_senders_nothing() {
    let clock = ManualClock::new(start());
    let queue = open_at(&TestStore::default(), QueueConfig::default(), clock.clone()).await;
    let grace = QueueConfig::default().grace;
    let mut reader = queue.subscribe(device(1));
    for number in 0..5 {
        let began = tokio::time::Instant::now();
        queue.append(device(1), label(number), URGENT).unwrap().settled().await.unwrap();
        let waited = if number == 0 { grace } else { Duration::ZERO };
        assert_eq!(began.elapsed(), waited, "message {number}");
        clock.advance(2 * grace);
        let read = reader.read(100).await.unwrap();
        reader.acknowledge(&[read[0].position]);
    }
    // It has come nearer.
    queue.append(device(1), label(5), URGENT).unwrap().settled().await.unwrap();
    let read = reader.read(100).await.unwrap();
    reader.acknowledge(&[read[0].position]);
    let began = tokio::time::Instant::now();
    queue.append(device(1), label(6), URGENT).unwrap().settled().await.unwrap();
    assert_eq!(began.elapsed(), grace);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_refused_when_its_queues_are_full_and_no_sooner() {
    let account_max = Volume { envelopes: 100, bytes: 1 << 20 };
    let config = QueueConfig { account_max, ..QueueConfig::default() };
    let (queue, store) = open_with(TestStore::default(), config).await;
    let one = Volume::of_one(4);
    for number in 0..100 {
        queue.admit(device(1).aci, one).await.unwrap();
        queue.append(device(1), label(number), URGENT).unwrap().settled().await.unwrap();
    }
    assert!(matches!(queue.admit(device(1).aci, one).await, Err(QueueError::Full)));
    assert_eq!(store.stored(device(1)), 100, "nothing had to make room");
    queue.admit(device(2).aci, one).await.unwrap();
    let mut reader = queue.subscribe(device(1));
    for delivery in reader.read(10).await.unwrap() {
        reader.acknowledge(&[delivery.position]);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    queue.admit(device(1).aci, one).await.unwrap();
    assert!(store.counts() < 10, "the store is asked now and then, not for every message");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_fetched_in_time_is_forgotten_and_nothing_else() {
    let config = QueueConfig { lifetime: Duration::from_hours(1), ..QueueConfig::default() };
    let (store, clock) = (TestStore::default(), ManualClock::new(start()));
    let queue = open_at(&store, config, clock.clone()).await;
    queue.append(device(1), label(1), URGENT).unwrap().settled().await.unwrap();
    clock.advance(Duration::from_mins(59));
    queue.append(device(2), label(2), URGENT).unwrap().settled().await.unwrap();
    assert_eq!(queue.expire().await.unwrap(), Volume::default());
    clock.advance(Duration::from_millis(60_001));
    assert_eq!(queue.expire().await.unwrap(), Volume::of_one(4));
    assert_eq!((store.stored(device(1)), store.stored(device(2))), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_shared_end_takes_room_once_until_nobody_holds_it() {
    let config = QueueConfig { pending_bytes_max: 1_000, ..QueueConfig::default() };
    let (queue, store) = open_with(TestStore::default(), config).await;
    store.hold();
    let body = queue.share(Bytes::from(vec![0; 900])).unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|account| {
            let envelope = QueuedEnvelope { head: label(7), shared: Some(body.clone()) };
            queue.append(device(account), envelope, URGENT).unwrap()
        })
        .collect();
    drop(body);
    assert!(matches!(queue.share(Bytes::from(vec![0; 200])), Err(QueueError::Overloaded)));
    store.release();
    for acceptance in waiting {
        acceptance.settled().await.unwrap();
    }
    tokio::task::yield_now().await;
    queue.share(Bytes::from(vec![0; 900])).unwrap();
}

/// Who was woken.
#[derive(Default)]
struct Woken(Mutex<Vec<(DeviceAddress, Urgency)>>);

#[async_trait]
impl Waker for Woken {
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> messages::Woken {
        self.0.lock().push((device, urgency));
        messages::Woken::Told
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_away_is_woken_and_who_left_something_a_minute_later() {
    let woken = Arc::<Woken>::default();
    let wake_ups = WakeUps::new(WakeUpConfig::default(), WakeUpMetrics::default());
    let (store, clock) = (TestStore::default(), ManualClock::new(start()));
    let queue = open_waking(&store, QueueConfig::default(), clock, Some(wake_ups.clone())).await;
    let waker: Arc<dyn Waker> = woken.clone();
    tokio::spawn(async move { wake_ups.run(waker).await });
    let seconds = |seconds| tokio::time::sleep(Duration::from_secs(seconds));

    for number in 0..10 {
        queue.append(device(1), label(number), URGENT).unwrap().settled().await.unwrap();
    }
    queue.append_ephemeral(device(2), label(0)).unwrap();
    seconds(1).await;
    assert_eq!(*woken.0.lock(), [(device(1), URGENT)], "once for all, and not for what is not kept");

    let mut reader = queue.subscribe(device(1));
    let read = reader.read(100).await.unwrap();
    queue.append(device(1), label(10), URGENT).unwrap().settled().await.unwrap();
    seconds(30).await;
    assert_eq!(woken.0.lock().len(), 1, "nobody is woken who is there");
    drop(reader);
    seconds(59).await;
    assert_eq!(woken.0.lock().len(), 1);
    seconds(2).await;
    assert_eq!(woken.0.lock().len(), 2, "it left messages unanswered");

    let mut reader = queue.subscribe(device(1));
    while let Some(delivery) = reader.read(1).await.unwrap().pop() {
        reader.acknowledge(&[delivery.position]);
    }
    drop(reader);
    seconds(120).await;
    assert_eq!((woken.0.lock().len(), read.len()), (2, 10), "it left nothing");
}
