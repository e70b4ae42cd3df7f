//! One GET, of which only the status matters.

use std::fmt;
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use url::{Host, Url};

/// The status that means healthy.
pub(super) const OK: u16 = 200;

/// Longer status lines are cut.
const LONGEST_LINE: u64 = 1024;

/// An `http://` URL that can be asked.
pub(super) struct HealthUrl {
    url: Url,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

/// The first line of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) line: String,
}

impl HealthUrl {
    /// The problem in words on failure.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("it must read `http://host:port/path` ({error})"))?;
        if url.scheme() != "http" {
            return Err(format!(
                "only `http://` is supported, not `{}://`",
                url.scheme()
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it cannot hold a user or password".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("the host is missing".to_owned()),
        };
        match url.port_or_known_default() {
            Some(port) if port > 0 => Ok(Self { url, host, port }),
            _ => Err("the port must be the one the server listens at, not 0".to_owned()),
        }
    }

    /// Asks once.
    pub(super) async fn status(&self) -> io::Result<Status> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.write_all(self.request().as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LONGEST_LINE))
            .read_until(b'\n', &mut line)
            .await?;
        parse_status(String::from_utf8_lossy(&line).trim_end())
    }

    fn request(&self) -> String {
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\
             User-Agent: conclib\r\n\r\n"
        )
    }
}

impl fmt::Display for HealthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// `HTTP/1.1 200 OK`, where the words at the end may be missing.
fn parse_status(line: &str) -> io::Result<Status> {
    let mut words = line.split(' ');
    let protocol = words.next().unwrap_or_default();
    let code = words.next().and_then(|code| code.parse().ok());
    match code {
        Some(code) if protocol.starts_with("HTTP/1.") => Ok(Status {
            code,
            line: line.to_owned(),
        }),
        _ if line.is_empty() => Err(io::Error::other(
            "it closed the connection without an answer",
        )),
        _ => Err(io::Error::other(format!(
            "it does not speak HTTP/1.1: `{line}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_asked() {
        let url = HealthUrl::parse("http://[::1]:8000/health?deep=1#top").unwrap();
        assert_eq!((&*url.host, url.port), ("::1", 8000));
        let request = url.request();
        assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\nHost: [::1]:8000\r\n"));
        assert!(
            HealthUrl::parse("http://localhost")
                .unwrap()
                .request()
                .starts_with("GET / ")
        );
    }

    #[test]
    fn urls_that_cannot() {
        for url in [
            "",
            "localhost:8000",
            "https://localhost",
            "http://a:b@localhost",
            "http://x:0",
        ] {
            assert!(HealthUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn status_lines() {
        assert_eq!(parse_status("HTTP/1.1 200 OK").unwrap().code, 200);
        assert_eq!(parse_status("HTTP/1.0 503").unwrap().code, 503);
        for line in ["", "SSH-2.0-OpenSSH", "HTTP/2 200", "HTTP/1.1 abc"] {
            assert!(parse_status(line).is_err(), "{line}");
        }
    }
}
