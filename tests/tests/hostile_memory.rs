//! Allocations by hostile frames: a small multiple of their size.
#![cfg(unix)]

use std::collections::BTreeMap;

use conclib::daemon::RedisDaemon;
use conclib::prelude::*;
use conclib::start_proxy;
use conclib_tests::bus::Bus;
use conclib_tests::{eventually, within};
use dhat::HeapStats;
use serde_bytes::{ByteArray, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The approximate size of each frame, in bytes.
const FRAME: usize = 4 * 1024 * 1024;

/// The largest allocation in frames: the test and the library hold the frame
/// themselves, too.
const TIMES: usize = 4;

/// Lists of lists of lists.
#[derive(Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Count(Nested);

#[derive(Actor)]
#[actor(urn = "counter")]
struct Counter;

#[handlers]
impl Counter {
    #[handler]
    fn count(&mut self, Count(Nested(list)): Count) -> usize {
        list.len()
    }
}

/// A command on a connection of its own.
async fn command(redis: &RedisDaemon, words: &[&[u8]]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.config().port().unwrap())).await?;
        let head = format!("*{}\r\n", words.len());
        stream.write_all(head.as_bytes()).await?;
        for word in words {
            let length = format!("${}\r\n", word.len());
            stream.write_all(length.as_bytes()).await?;
            stream.write_all(word).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.write_all(b"QUIT\r\n").await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    within(exchange).await.unwrap()
}

fn request(attributes: &BTreeMap<String, String>, contents: &[u8]) -> Vec<u8> {
    let client = ByteArray::new([7; 16]);
    let contents = Bytes::new(contents);
    let head = (1_u8, 0_u8, 5_u64, client, "counter", "Count");
    rmp_serde::to_vec(&(
        head.0,
        head.1,
        head.2,
        head.3,
        head.4,
        head.5,
        u64::MAX,
        attributes,
        contents,
    ))
    .unwrap()
}

fn reply<T: Serialize>(answers: &[T]) -> Vec<u8> {
    rmp_serde::to_vec(&(1_u8, 1_u64, answers)).unwrap()
}

// The only test of its process, whose allocations are measured.
#[tokio::test(flavor = "current_thread")]
async fn decoding_allocates_a_small_multiple_of_a_frame() {
    let bus = Bus::redis().await;
    let redis = bus.redis.as_ref().unwrap();
    let system = ActorSystem::new();
    start_proxy(&system, &bus.config).await.unwrap();
    system.spawn(Counter).await.unwrap();
    let client = bus.client().await;
    let epoch = command(redis, &[b"GET", b"conclib:{n:main}:epoch"]).await;
    let epoch = epoch.lines().nth(1).unwrap();
    let epoch = epoch.split(':').next().unwrap(); // its owner follows
    let inbox = format!("conclib:{{n:main}}:inbox:{epoch}");
    let channel = command(redis, &[b"PUBSUB", b"CHANNELS"]).await;
    let channel = channel.lines().nth(2).unwrap().to_owned();

    let nothing = BTreeMap::new();
    let many = (0..FRAME / 8).map(|n| (n.to_string(), String::new()));
    let lies = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(FRAME / 5 - 100);
    let answer = (9_u64, 0_u8, "", &nothing, Bytes::new(&[]));
    let circle = rmp_serde::to_vec(&(vec![""; FRAME],)).unwrap();
    let circle = (9_u64, 9_u8, "", &nothing, Bytes::new(&circle));
    let requests = [request(&many.collect(), &[]), request(&nothing, &lies)];
    let replies = [reply(&vec![answer; FRAME / 7]), reply(&[circle])];

    let _counting = dhat::Profiler::builder().testing().build();
    let check = |what: &str| {
        let most = HeapStats::get().max_bytes;
        assert!(most < TIMES * FRAME, "{what}: {most} bytes");
    };
    for frame in &requests {
        assert!(frame.len() > FRAME / 2 && frame.len() < 2 * FRAME);
        command(redis, &[b"RPUSH", inbox.as_bytes(), frame]).await;
        eventually("it is taken", async || {
            let left = command(redis, &[b"EXISTS", inbox.as_bytes()]).await;
            left.starts_with(":0")
        })
        .await;
        let count = client.ask("counter", Count(Nested(Vec::new())));
        assert_eq!(count.await, Ok(0));
        check("a request");
    }
    for frame in &replies {
        assert!(frame.len() > FRAME / 2 && frame.len() < 2 * FRAME);
        let result = command(redis, &[b"PUBLISH", channel.as_bytes(), frame]).await;
        assert!(result.starts_with(":1"), "{result}");
        let count = client.ask("counter", Count(Nested(Vec::new())));
        assert_eq!(count.await, Ok(0));
        check("a reply");
    }
}
