//! External events as messages: lines of a TCP connection, the result of a slow
//! request, the result of a long computation, and time that passes.
//!
//! `cargo run --example streams`

use std::error::Error;
use std::time::Duration;

use conclib::prelude::*;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{FramedRead, LinesCodec};

#[derive(ActorMessage)]
#[message(local)]
enum Line {
    Text(String),
    End,
}

#[derive(ActorMessage)]
#[message(local)]
struct Translated(String);

#[derive(ActorMessage)]
#[message(local)]
struct Counted {
    vowels: usize,
}

#[derive(ActorMessage)]
#[message(local)]
struct GoodNight;

#[derive(Actor)]
struct Reader {
    connection: Option<TcpStream>,
}

#[handlers]
impl Reader {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let lines = FramedRead::new(connection, LinesCodec::new());
        let lines = lines.map(|line| line.map_or(Line::End, Line::Text));
        // While the mailbox is full, the stream is not read, and TCP makes the other side wait.
        ctx.attach(lines.chain(futures_util::stream::iter([Line::End])));
    }

    #[handler]
    fn line(&mut self, line: Line, ctx: &mut Context<Self>) {
        match line {
            Line::Text(text) => {
                println!("read {text:?}");
                let counted = text.clone();
                ctx.pipe(ctx.spawn_blocking(move |_| Counted {
                    vowels: counted.matches(['a', 'e', 'i', 'o', 'u']).count(),
                }));
                ctx.pipe(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await; // a slow service
                    Translated(text.to_uppercase())
                });
            }
            Line::End => {
                ctx.after(Duration::from_millis(200), GoodNight);
            }
        }
    }

    #[handler]
    fn translated(&mut self, Translated(text): Translated) {
        println!("translated: {text}");
    }

    #[handler]
    fn counted(&mut self, message: Counted) {
        println!("{} vowels", message.vowels);
    }

    #[handler]
    fn good_night(&mut self, _: GoodNight, ctx: &mut Context<Self>) {
        println!("good night");
        ctx.stop();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut writer = TcpStream::connect(listener.local_addr()?).await?;
    let (connection, _) = listener.accept().await?;

    let system = ActorSystem::new();
    let connection = Some(connection);
    let reader = system.spawn(Reader { connection }).await?;
    writer.write_all(b"first line\nsecond line\n").await?;
    drop(writer);
    reader.stopped().await;
    system.shutdown().await;
    Ok(())
}
