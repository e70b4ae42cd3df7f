//! Readiness probe: asks a Redis for the directory that tells ours from another one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bus::config::RedisAddress;

/// More than the answers to these commands can take.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// The Redis that answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProbeAnswer {
    Ours,
    Foreign,
}

/// Connects and asks. Ours is the Redis that works in the directory whose name is `mark`, which
/// cannot be guessed. An error means that there is no Redis yet.
pub(super) async fn ask(
    target: SocketAddr,
    address: &RedisAddress,
    mark: &str,
) -> io::Result<ProbeAnswer> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(&request(address)).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    judge(&String::from_utf8_lossy(&answer), mark)
}

/// Ends with QUIT, after which the server closes the connection: so the answer needs no parsing.
fn request(address: &RedisAddress) -> Vec<u8> {
    let mut request = Vec::new();
    if let Some(password) = &address.password {
        let user = address.username.as_deref().unwrap_or("default");
        command(&mut request, &["AUTH", user, password]);
    }
    command(&mut request, &["PING"]);
    command(&mut request, &["CONFIG", "GET", "dir"]);
    command(&mut request, &["QUIT"]);
    request
}

fn command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

fn judge(answer: &str, mark: &str) -> io::Result<ProbeAnswer> {
    if answer.contains(mark) && answer.contains("+PONG") {
        return Ok(ProbeAnswer::Ours);
    }
    // Ours closes connections while it starts, and may say that it is loading.
    if answer.is_empty() || answer.contains("-LOADING") {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(ProbeAnswer::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_in_our_directory_is_ours() {
        let ours = "+OK\r\n+PONG\r\n*2\r\n$3\r\ndir\r\n$9\r\n/tmp/mark\r\n+OK\r\n";
        assert_eq!(judge(ours, "mark").unwrap(), ProbeAnswer::Ours);
        assert_eq!(judge(ours, "other").unwrap(), ProbeAnswer::Foreign);
        let locked = "-NOAUTH Authentication required.\r\n+OK\r\n";
        assert_eq!(judge(locked, "mark").unwrap(), ProbeAnswer::Foreign);
        assert!(judge("", "mark").is_err());
        assert!(judge("-LOADING Redis is loading\r\n+OK\r\n", "mark").is_err());
    }

    #[test]
    fn password_may_contain_any_character() {
        let mut out = Vec::new();
        command(&mut out, &["AUTH", "default", "a b\r\nQUIT"]);
        assert_eq!(
            out,
            b"*3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$9\r\na b\r\nQUIT\r\n"
        );
    }
}
