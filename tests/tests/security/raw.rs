//! Raw commands as a user of a Redis.

use conclib_tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A user of a Redis, with a connection for each command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) port: u16,
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

impl User {
    /// The raw reply of Redis to a command.
    pub(crate) async fn says(&self, command: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let login = format!("AUTH {} {}\r\n", self.name, self.password);
            let lines = format!("{login}{command}\r\nQUIT\r\n");
            stream.write_all(lines.as_bytes()).await?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await?;
            std::io::Result::Ok(reply)
        };
        let reply = within(exchange).await.unwrap();
        let reply = String::from_utf8_lossy(&reply);
        let reply = reply.strip_prefix("+OK\r\n").expect("it is let in");
        reply
            .strip_suffix("+OK\r\n")
            .unwrap_or(reply)
            .trim_end()
            .to_owned()
    }
}
