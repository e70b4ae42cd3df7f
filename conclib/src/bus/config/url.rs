//! The address of a Redis, parsed from a URL and written as one.

use std::fmt;

#[cfg(feature = "redis")]
use percent_encoding::percent_decode_str;
#[cfg(feature = "redis")]
use url::{Host, Url};

/// The address of a Redis, with credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisAddress {
    /// Connections use TLS.
    pub(crate) tls: bool,
    pub(crate) host: String,
    /// 0 asks `start_redis` for a free port.
    pub(crate) port: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u8,
}

impl RedisAddress {
    pub(super) fn local() -> Self {
        Self {
            tls: false,
            host: "localhost".to_owned(),
            port: 6379,
            username: None,
            password: None,
            database: 0,
        }
    }

    /// Fails: without its feature `redis`, conclib reads no URLs.
    #[cfg(not(feature = "redis"))]
    pub(crate) fn parse(_: &str) -> Result<Self, String> {
        Err("conclib was built without its feature `redis`".to_owned())
    }

    /// Parses a URL; returns the problem in words on failure, never with the URL, which may hold a
    /// password.
    #[cfg(feature = "redis")]
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!(
                "it must read `redis://[user:password@]host[:port][/db]`, with `%2F`, `%3F`, `%23` \
                 and `%40` for `/`, `?`, `#` and `@` in user and password ({error})"
            )
        })?;
        let tls = uses_tls(url.scheme())?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "a part behind `?` or `#` means nothing here: write the database as `/3`, and TLS as \
                 `rediss://`"
                    .to_owned(),
            );
        }
        let host = match url.host() {
            Some(Host::Domain(host)) if !host.is_empty() => host.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err("the host is missing".to_owned()),
        };
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            path => path
                .parse()
                .map_err(|_| "the database must be a number from 0 to 255".to_owned())?,
        };
        Ok(Self {
            tls,
            host,
            port: url.port().unwrap_or(6379),
            username: decode("user", url.username())?,
            password: decode("password", url.password().unwrap_or_default())?,
            database,
        })
    }
}

/// True if the URLs with that scheme mean TLS.
#[cfg(feature = "redis")]
fn uses_tls(scheme: &str) -> Result<bool, String> {
    let problem = match scheme {
        "redis" | "valkey" => return Ok(false),
        "rediss" | "valkeys" if cfg!(feature = "tls") => return Ok(true),
        "rediss" | "valkeys" => {
            "TLS (`rediss://`) needs conclib's feature `tls`, which this program was built without: \
             write `features = [\"tls\"]` where it depends on conclib"
        }
        "unix" | "redis+unix" | "redis-socket" => {
            "Unix sockets are not supported: let Redis listen on a port, such as \
             `redis://localhost:6379`"
        }
        "redis-sentinel" | "rediss-sentinel" => {
            "Sentinel is not supported: name the primary, by a host name or an address that \
             follows it, as `redis://`"
        }
        "redis-cluster" | "rediss-cluster" => {
            "a cluster is not supported: name a single Redis, as `redis://`"
        }
        // Without the wrong scheme: a URL without one may begin with a secret.
        _ => "the scheme must be `redis` or `rediss`",
    };
    Err(problem.to_owned())
}

/// The decoded user or password of a URL; `None` if it is empty.
#[cfg(feature = "redis")]
fn decode(part: &str, text: &str) -> Result<Option<String>, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| format!("the {part} must be valid UTF-8 once decoded"))?;
    Ok(Some(decoded.into_owned()).filter(|decoded| !decoded.is_empty()))
}

impl RedisAddress {
    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }

    /// Host and port, as they stand in a URL: an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// The URL that [`parse`](Self::parse) reads.
    pub(crate) fn to_url(&self) -> String {
        let user = self.username.as_deref().map(percent_encode);
        let user = user.unwrap_or_default();
        let password = self
            .password
            .as_deref()
            .map(|password| format!(":{}", percent_encode(password)));
        let login = match password {
            Some(password) => format!("{user}{password}@"),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        let (scheme, authority) = (self.scheme(), self.authority());
        let database = self.database;
        format!("{scheme}://{login}{authority}/{database}")
    }
}

/// A user or a password, encoded for a URL.
fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = text.bytes().map(|byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.password.as_ref().map_or("", |_| "***@");
        let (scheme, authority) = (self.scheme(), self.authority());
        let database = self.database;
        write!(f, "{scheme}://{secret}{authority}/{database}")
    }
}
