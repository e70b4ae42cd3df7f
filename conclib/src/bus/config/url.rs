//! The address of a Redis, parsed from a URL and written as one.

use std::fmt;

#[cfg(feature = "redis")]
use percent_encoding::percent_decode_str;
#[cfg(feature = "redis")]
use url::{Host, Url};

#[cfg(feature = "redis")]
use scheme::Scheme;

#[cfg(feature = "redis")]
mod scheme;

/// The address of a Redis, with credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisAddress {
    /// Connections use TLS.
    pub(crate) tls: bool,
    pub(crate) location: ServerLocation,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

/// The address at which a Redis is found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ServerLocation {
    Tcp(HostPort),
    /// The path of a Unix socket.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "URLs are not read"))]
    Unix(String),
    /// Sentinels, which know the address of the primary.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "URLs are not read"))]
    Sentinels(Sentinels),
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    /// 0 asks `start_redis` for a free port.
    pub(crate) port: u16,
}

/// The Sentinels that watch over a Redis, with their own credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sentinels {
    pub(crate) nodes: Vec<HostPort>,
    /// The name by which they know the primary.
    pub(crate) service: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Display for HostPort {
    /// As they stand in a URL: an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// The location, for errors and logs.
impl fmt::Display for ServerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(node) => node.fmt(f),
            Self::Unix(path) => f.write_str(path),
            Self::Sentinels(Sentinels { nodes, service, .. }) => {
                for (index, node) in nodes.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{node}")?;
                }
                write!(f, "/{}", percent_encode(service))
            }
        }
    }
}

impl RedisAddress {
    pub(super) fn local() -> Self {
        Self {
            tls: false,
            location: ServerLocation::Tcp(HostPort {
                host: "localhost".to_owned(),
                port: 6379,
            }),
            username: None,
            password: None,
            database: 0,
        }
    }

    /// Host and port, unless it is found in another way.
    pub(crate) fn node(&self) -> Option<&HostPort> {
        match &self.location {
            ServerLocation::Tcp(node) => Some(node),
            ServerLocation::Unix(_) | ServerLocation::Sentinels(_) => None,
        }
    }

    fn scheme(&self) -> &'static str {
        match (&self.location, self.tls) {
            (ServerLocation::Tcp(_), false) => "redis",
            (ServerLocation::Tcp(_), true) => "rediss",
            (ServerLocation::Unix(_), _) => "unix",
            (ServerLocation::Sentinels(_), false) => "redis-sentinel",
            (ServerLocation::Sentinels(_), true) => "rediss-sentinel",
        }
    }

    /// The URL that [`parse`](Self::parse) reads.
    pub(crate) fn to_url(&self) -> String {
        let (scheme, location) = (self.scheme(), &self.location);
        let login = login(self.username.as_deref(), self.password.as_deref());
        let login = login.map_or_else(String::new, |login| format!("{login}@"));
        let location = match location {
            ServerLocation::Unix(path) => path
                .split('/')
                .map(percent_encode)
                .collect::<Vec<_>>()
                .join("/"),
            location => location.to_string(),
        };
        let database = match self.location {
            ServerLocation::Unix(_) => format!("?db={}", self.database),
            _ => format!("/{}", self.database),
        };
        let sentinel_login = match &self.location {
            ServerLocation::Sentinels(sentinels) => login_of_sentinels(sentinels)
                .map_or_else(String::new, |login| format!("?sentinel={login}")),
            _ => String::new(),
        };
        format!("{scheme}://{login}{location}{database}{sentinel_login}")
    }
}

fn login_of_sentinels(sentinels: &Sentinels) -> Option<String> {
    login(sentinels.username.as_deref(), sentinels.password.as_deref())
}

/// User and password, encoded for a URL.
fn login(user: Option<&str>, password: Option<&str>) -> Option<String> {
    let user = user.map(percent_encode).unwrap_or_default();
    match password.map(percent_encode) {
        Some(password) => Some(format!("{user}:{password}")),
        None if user.is_empty() => None,
        None => Some(user),
    }
}

/// A part of a URL, encoded.
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
        let (scheme, location, database) = (self.scheme(), &self.location, self.database);
        write!(f, "{scheme}://{secret}{location}/{database}")
    }
}

/// Fails: without its feature `redis`, conclib reads no URLs.
#[cfg(not(feature = "redis"))]
impl RedisAddress {
    pub(crate) fn parse(_: &str) -> Result<Self, String> {
        Err("conclib was built without its feature `redis`".to_owned())
    }
}

#[cfg(feature = "redis")]
impl RedisAddress {
    /// Reads a URL, and says what is wrong with it; the error holds no secret.
    ///
    /// - `redis://[user:password@]host[:port][/db]`, or `rediss://` with TLS
    /// - `unix://[user:password@]/path[?db=db]`
    /// - `redis-sentinel://[user:password@]host[:port],…/service[/db][?sentinel=user:password]`, or
    ///   `rediss-sentinel://` with TLS to both
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        match Scheme::parse(scheme)? {
            Scheme::Tcp { tls } => Self::parse_tcp(text, tls),
            Scheme::Unix => Self::parse_unix(rest),
            Scheme::Sentinels { tls } => Self::parse_sentinels(rest, tls),
        }
    }

    fn parse_tcp(text: &str, tls: bool) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!(
                "it must read `redis://[user:password@]host[:port][/db]`, with `%2F`, `%3F`, `%23` \
                 and `%40` for `/`, `?`, `#` and `@` in user and password ({error})"
            )
        })?;
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
            _ => return Err("it names no host".to_owned()),
        };
        Ok(Self {
            tls,
            location: ServerLocation::Tcp(HostPort {
                host,
                port: url.port().unwrap_or(6379),
            }),
            username: decode("the user", url.username())?,
            password: decode("the password", url.password().unwrap_or_default())?,
            database: database(url.path().trim_start_matches('/'))?,
        })
    }

    fn parse_unix(rest: &str) -> Result<Self, String> {
        let (rest, query) = split_query(rest);
        let (login, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let login = login
            .strip_suffix('@')
            .or(login.is_empty().then_some(login));
        let parts = decode("the path", path)?.zip(login);
        let (path, login) =
            parts.ok_or("it must read `unix:///path/of/the.sock`, with a path from the root")?;
        let [username, password] = decode_login(login)?;
        let database = match query.map(|query| query.split_once('=')) {
            None => 0,
            Some(Some(("db", number))) => database(number)?,
            Some(_) => return Err("behind `?` only the database may stand, as `?db=3`".to_owned()),
        };
        Ok(Self {
            tls: false,
            location: ServerLocation::Unix(path),
            username,
            password,
            database,
        })
    }

    fn parse_sentinels(rest: &str, tls: bool) -> Result<Self, String> {
        let (rest, query) = split_query(rest);
        let (login, rest) = split_login(rest);
        let (nodes, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, number) = path.split_once('/').unwrap_or((path, ""));
        let service = decode("the service", service)?;
        let service = service.ok_or(
            "it names no service: write `redis-sentinel://host:26379/service`, with the name behind \
             `sentinel monitor` in the Sentinels' configuration",
        )?;
        let node = |node: &str| {
            let read = Self::parse_tcp(&format!("redis://{node}"), tls)?;
            match read.location {
                ServerLocation::Tcp(node) => Ok(node),
                _ => unreachable!("it was read as host and port"),
            }
        };
        let with_port = |node: &str| {
            let has_port = node
                .rsplit_once(':')
                .is_some_and(|(_, port)| !port.contains(']'));
            if has_port {
                node.to_owned()
            } else {
                format!("{node}:26379")
            }
        };
        let nodes: Result<_, String> = nodes
            .split(',')
            .map(|text| node(&with_port(text)))
            .collect();
        let [sentinel_user, sentinel_password] = login_behind(query)?;
        let [username, password] = decode_login(login)?;
        Ok(Self {
            tls,
            location: ServerLocation::Sentinels(Sentinels {
                nodes: nodes?,
                service,
                username: sentinel_user,
                password: sentinel_password,
            }),
            username,
            password,
            database: database(number)?,
        })
    }
}

/// The Sentinels' own user and password, from the query of a URL.
#[cfg(feature = "redis")]
fn login_behind(query: Option<&str>) -> Result<[Option<String>; 2], String> {
    let login = match query.map(|query| query.split_once('=')) {
        None => "",
        Some(Some(("sentinel", login))) => login,
        Some(_) => {
            return Err(
                "behind `?` only the Sentinels' own user and password may stand, as \
                 `?sentinel=user:password`"
                    .to_owned(),
            );
        }
    };
    let login = decode_login(login)?;
    match login {
        [Some(_), None] => {
            Err("the Sentinels' user has no password: write `?sentinel=user:password`".to_owned())
        }
        login => Ok(login),
    }
}

#[cfg(feature = "redis")]
fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (text, None),
    }
}

/// Splits user and password off.
#[cfg(feature = "redis")]
fn split_login(text: &str) -> (&str, &str) {
    text.rsplit_once('@').unwrap_or(("", text))
}

/// Decodes user and password.
#[cfg(feature = "redis")]
fn decode_login(login: &str) -> Result<[Option<String>; 2], String> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    Ok([decode("the user", user)?, decode("the password", password)?])
}

/// A decoded part of a URL; `None` if it is empty.
#[cfg(feature = "redis")]
fn decode(part: &str, text: &str) -> Result<Option<String>, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| format!("{part} must be valid UTF-8 once decoded"))?;
    Ok(Some(decoded.into_owned()).filter(|decoded| !decoded.is_empty()))
}

#[cfg(feature = "redis")]
fn database(digits: &str) -> Result<u32, String> {
    match digits {
        "" => Ok(0),
        digits => digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| "the database must be a number, such as `/3`".to_owned()),
    }
}
