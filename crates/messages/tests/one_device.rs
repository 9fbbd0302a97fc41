//! What a device's going means to its queue and to nobody else's, and how far it has read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use messages::{CloseReason, Urgency};
use protocol::DeviceAddress;
use support::{device, label, later, open, start};

const URGENT: Urgency = Urgency::Urgent;

/// Another device of the same account.
fn other() -> DeviceAddress {
    DeviceAddress { device_id: 2.try_into().unwrap(), ..device(1) }
}

#[tokio::test(start_paused = true)]
async fn disconnecting_a_device_leaves_the_others_connected() {
    let (queue, _store) = open().await;
    let (going, staying) = (queue.subscribe(device(1)), queue.subscribe(other()));
    let before = queue.disconnections();
    queue.disconnect_device(device(1), CloseReason::CredentialsRevoked);
    assert_eq!(going.closed(), Some(CloseReason::CredentialsRevoked));
    assert_eq!(staying.closed(), None);
    assert_ne!(queue.disconnections(), before, "somebody who is just connecting must look again");
    queue.disconnect_device(device(9), CloseReason::CredentialsRevoked);
}

#[tokio::test(start_paused = true)]
async fn clearing_a_device_leaves_the_others_messages() {
    let (queue, store) = open().await;
    for (number, device) in [(1, device(1)), (2, other())] {
        queue.append(device, label(number), URGENT).unwrap().settled().await.unwrap();
    }
    // In memory too: it waits for the acknowledgement of a reader.
    let _reader = queue.subscribe(device(1));
    let waiting = queue.append(device(1), label(3), URGENT).unwrap();
    queue.clear_device(device(1), later()).await.unwrap();
    waiting.settled().await.unwrap();
    assert_eq!((store.stored(device(1)), store.stored(other())), (0, 1));
    queue.append(device(1), label(4), URGENT).unwrap().settled().await.unwrap();
    queue.clear_device(device(1), start()).await.unwrap();
    assert_eq!(store.labels(device(1)), [4], "it came after the cutoff");
}

#[tokio::test(start_paused = true)]
async fn a_device_has_read_when_nothing_from_before_waits_for_it() {
    let (queue, store) = open().await;
    let holds = async |moment| queue.holds_before(device(1), moment).await.unwrap();
    assert!(!holds(later()).await);
    queue.append(other(), label(1), URGENT).unwrap().settled().await.unwrap();
    assert!(!holds(later()).await, "it is the other device's");
    store.hold();
    let waiting = queue.append(device(1), label(2), URGENT).unwrap();
    assert!(holds(later()).await, "on its way to the disk");
    assert!(!holds(start()).await, "it is not from before");
    store.release();
    waiting.settled().await.unwrap();
    assert!(holds(later()).await, "stored");
    let mut reader = queue.subscribe(device(1));
    let read = reader.read(10).await.unwrap();
    assert!(holds(later()).await, "handed out and not acknowledged");
    reader.acknowledge(&[read[0].position]);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!holds(later()).await);
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_closed_with_the_readers_and_stands_in_no_way() {
    let (queue, store) = open().await;
    let reader = queue.subscribe(device(1));
    let (watch, gone) = (queue.watch(device(1)), queue.watch(device(1)));
    assert_eq!((reader.closed(), watch.closed()), (None, None));
    drop(queue.subscribe(device(1)));
    assert_eq!(reader.closed(), Some(CloseReason::ConnectedElsewhere));
    assert_eq!(watch.closed(), None, "a reader takes the place of readers only");
    drop((reader, gone));
    queue.append(device(1), label(1), URGENT).unwrap().settled().await.unwrap();
    assert_eq!(store.stored(device(1)), 1, "nobody was there to take it");
    queue.disconnect(device(1).aci, CloseReason::CredentialsRevoked);
    std::future::poll_fn(|context| watch.poll_changed(context)).await;
    assert_eq!(watch.closed(), Some(CloseReason::CredentialsRevoked));
}
