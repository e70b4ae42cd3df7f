//! The schemes of URLs, and what they say about a server.

/// The kind of a URL.
pub(super) enum Scheme {
    Tcp { tls: bool },
    Unix,
    Sentinels { tls: bool },
}

impl Scheme {
    pub(super) fn parse(scheme: &str) -> Result<Self, String> {
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => Self::Tcp { tls: false },
            "rediss" | "valkeys" => Self::Tcp { tls: true },
            "unix" | "redis+unix" | "redis-socket" | "valkey+unix" if cfg!(unix) => Self::Unix,
            "redis-sentinel" | "redis+sentinel" | "valkey-sentinel" => {
                Self::Sentinels { tls: false }
            }
            "rediss-sentinel" | "rediss+sentinel" | "valkeys-sentinel" => {
                Self::Sentinels { tls: true }
            }
            "redis-cluster" | "rediss-cluster" | "redis+cluster" | "valkey-cluster" => {
                return Err(
                    "a cluster is not supported yet: name a single Redis (`redis://`), or Sentinels \
                     (`redis-sentinel://`)"
                        .to_owned(),
                );
            }
            // Without the wrong scheme: a URL without one may begin with a secret.
            _ => {
                return Err(
                    "the scheme must be `redis`, `rediss`, `redis-sentinel` or `unix`".to_owned(),
                );
            }
        };
        match scheme {
            Self::Tcp { tls: true } | Self::Sentinels { tls: true } if !cfg!(feature = "tls") => Err(
                "TLS (`rediss://`) needs conclib's feature `tls`, which this program was built \
                 without: write `features = [\"tls\"]` where it depends on conclib"
                    .to_owned(),
            ),
            scheme => Ok(scheme),
        }
    }
}
