//! The websocket over a pipe.

use std::time::Duration;

use tokio::{io::duplex, time::timeout};

use super::{
    client::{Client, Received},
    *,
};

const MAX: usize = 100_000;

fn connected(pipe: usize) -> (WebSocket<tokio::io::DuplexStream>, Client) {
    let (ours, theirs) = duplex(pipe);
    (WebSocket::new(ours, MAX), Client::new(theirs))
}

fn holds_nothing(socket: &WebSocket<tokio::io::DuplexStream>) -> bool {
    socket.unread.is_empty() && socket.outgoing.capacity() == 0
}

#[tokio::test]
async fn messages_that_came_together_are_taken_one_by_one() {
    let (mut socket, mut client) = connected(1_000_000);
    client.send_binary(b"one").await;
    client.send(0x89, b"ping").await;
    client.send_binary(&vec![7; MAX]).await;
    assert_eq!(socket.next().await.unwrap(), Message::Binary("one".into()));
    assert_eq!(socket.next().await.unwrap(), Message::Ping("ping".into()));
    assert_eq!(socket.next().await.unwrap(), Message::Binary(vec![7; MAX].into()));
    assert!(holds_nothing(&socket));
    drop(client);
    assert!(matches!(socket.next().await, Err(Unreadable::Gone)));
}

#[tokio::test]
async fn giving_up_the_wait_loses_nothing() {
    let (mut socket, mut client) = connected(1_000);
    client.stream.write_all(&[0x82, 0x82, 0, 0]).await.unwrap();
    assert!(timeout(Duration::from_millis(20), socket.next()).await.is_err(), "half a head is no message");
    client.stream.write_all(&[0, 0, b'a', b'b']).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), Message::Binary("ab".into()));
}

#[tokio::test]
async fn what_is_queued_goes_out_together_and_leaves_nothing_behind() {
    let (mut socket, mut client) = connected(1_000_000);
    for byte in 0..3 {
        socket.queue(40_000, |out| out.extend(vec![byte; 40_000]));
    }
    socket.queue_pong(b"ping");
    assert!(socket.queued() > 120_000);
    socket.flush().await.unwrap();
    assert!(holds_nothing(&socket));
    for byte in 0..3 {
        assert_eq!(client.receive().await, Some(Received::Binary(vec![byte; 40_000].into())));
    }
    assert_eq!(client.receive().await, Some(Received::Pong("ping".into())));
}

#[tokio::test]
async fn both_sides_say_goodbye() {
    let (mut socket, mut client) = connected(1_000);
    let server = tokio::spawn(async move { socket.close(4409, "why").await.map(|()| socket) });
    assert_eq!(client.receive().await, Some(Received::Close(4409, "why".to_owned())));
    client.send(0x88, &4409_u16.to_be_bytes()).await;
    server.await.unwrap().unwrap();
    assert_eq!(client.receive().await, None, "the connection has ended");

    let (mut socket, mut client) = connected(1_000);
    client.send(0x88, &[]).await;
    let Ok(Message::Close(code)) = socket.next().await else { panic!("no close") };
    socket.closed(code).await.unwrap();
    assert_eq!(client.receive().await, Some(Received::Close(1000, String::new())));
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn violations_are_told_apart_from_clients_that_have_gone() {
    let (mut socket, mut client) = connected(1_000_000);
    client.send_binary(&vec![7; MAX + 1]).await;
    let Err(Unreadable::Violation(violation)) = socket.next().await else { panic!("no violation") };
    assert_eq!(violation, Violation::TooLong);
}
