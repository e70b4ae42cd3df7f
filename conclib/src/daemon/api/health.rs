//! A health check: one GET, of which only the status matters.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The status that means healthy.
pub(super) const OK: u16 = 200;

/// Longer status lines are cut.
const LONGEST_LINE: u64 = 1024;

/// The `http://` URL of a health check.
pub(super) struct HealthUrl {
    /// Host and port as the URL has them.
    authority: String,
    /// Path and query; `/` if the URL has neither.
    path: String,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

/// The first line of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HealthStatus {
    pub(super) code: u16,
    pub(super) line: String,
}

impl HealthUrl {
    /// The problem in words on failure.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("it must read `http://host:port/path`".to_owned());
        };
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(format!("only `http://` is supported, not `{scheme}://`"));
        }
        if let Some(odd) = rest.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("it contains {odd:?}: write it percent-encoded"));
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it cannot hold a user or password".to_owned());
        }
        let (host, port) = split_port(authority)?;
        Ok(Self {
            host: host_name(host)?,
            port,
            authority: authority.to_owned(),
            path: match path {
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            },
        })
    }

    /// Sends one request and reads the status line.
    pub(super) async fn status(&self) -> io::Result<HealthStatus> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.write_all(self.request().as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LONGEST_LINE))
            .read_until(b'\n', &mut line)
            .await?;
        parse_status(String::from_utf8_lossy(&line).trim_end())
    }

    fn request(&self) -> String {
        let Self {
            path, authority, ..
        } = self;
        format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: */*\r\n\
             User-Agent: conclib\r\n\r\n"
        )
    }
}

impl fmt::Display for HealthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// The host of `host:port`, and the port: 80 if the URL has none.
fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within the brackets of an IPv6 address.
        Some((_, end)) if end.ends_with(']') => (authority, ""),
        Some(parts) => parts,
        None => (authority, ""),
    };
    match port {
        "" => Ok((host, 80)),
        _ => match port.parse() {
            Ok(0) => Err("the port must be the one the server listens at, not 0".to_owned()),
            // A number may have a sign, a port may not.
            Ok(number) if !port.starts_with('+') => Ok((host, number)),
            _ => Err(format!(
                "`{port}` is not a port: write a number up to 65535"
            )),
        },
    }
}

/// A host as the system looks it up: a name or an address.
fn host_name(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| format!("`{address}` is not an IPv6 address"))?;
        return Ok(address.to_string());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match host.chars().find(|c| !allowed(*c)) {
        Some(odd) => Err(format!("{odd:?} cannot stand in the name of a host")),
        None => Ok(host.to_owned()),
    }
}

/// `HTTP/1.1 200 OK`, where the words at the end may be missing.
fn parse_status(line: &str) -> io::Result<HealthStatus> {
    let mut words = line.split(' ');
    let protocol = words.next().unwrap_or_default();
    let code = words.next().and_then(|code| code.parse().ok());
    match code {
        Some(code) if protocol.starts_with("HTTP/1.") => Ok(HealthStatus {
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
    fn accepted_urls() {
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
        for (text, host, port, path) in [
            ("http://localhost", "localhost", 80, "/"),
            ("HTTP://localhost:", "localhost", 80, "/"),
            ("http://[::1]?deep", "::1", 80, "/?deep"),
            ("http://[0:0::1]:1/a//b?c=/", "::1", 1, "/a//b?c=/"),
            ("http://10.0.0.1:65535#a@b", "10.0.0.1", 65535, "/"),
            ("http://a_b.c-d/%20", "a_b.c-d", 80, "/%20"),
        ] {
            let url = HealthUrl::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, &*url.path), (host, port, path));
        }
        let shown = HealthUrl::parse("http://localhost:80/health#top").unwrap();
        assert_eq!(shown.to_string(), "http://localhost:80/health");
    }

    #[test]
    fn rejected_urls() {
        for url in [
            "",
            "localhost:8000",
            "https://localhost",
            "http://a:b@localhost",
            "http://x:0",
            "http://x:+1",
            "http://x:65536",
            "http://x:1:1",
            "http://",
            "http:///health",
            "http://:8000",
            "http://[::1",
            "http://[::x]",
            "http://::1",
            "http://two words/",
            "http://x/\r\nHost: y",
            "http://x/ä",
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
