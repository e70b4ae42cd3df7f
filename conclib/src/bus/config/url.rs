//! The address of a Redis, parsed from a URL and written as one.

use std::fmt;

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
            format!("it must read `redis://[user:password@]host[:port][/db]` ({error})")
        })?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" if cfg!(feature = "tls") => true,
            "rediss" => {
                return Err(
                    "TLS (`rediss://`) needs conclib's feature `tls`, which this program was built \
                     without: write `features = [\"tls\"]` where it depends on conclib"
                        .to_owned(),
                );
            }
            // Without the wrong scheme: a URL without one may begin with a secret.
            _ => return Err("the scheme must be `redis` or `rediss`".to_owned()),
        };
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
        let decode = |text: &str| {
            url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
                .next()
                .map(|(text, _)| text.into_owned())
        };
        Ok(Self {
            tls,
            host,
            port: url.port().unwrap_or(6379),
            username: decode(url.username()),
            password: url.password().and_then(decode),
            database,
        })
    }
}

impl RedisAddress {
    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
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
        // An IPv6 address stands in brackets.
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let Self {
            host,
            port,
            database,
            ..
        } = self;
        let scheme = self.scheme();
        format!("{scheme}://{login}{open}{host}{close}:{port}/{database}")
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
        let Self {
            host,
            port,
            database,
            ..
        } = self;
        let scheme = self.scheme();
        write!(f, "{scheme}://{secret}{host}:{port}/{database}")
    }
}
