//! Credentials beyond the URL: secrets in files, and certificates.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::bus::config::{Config, ConfigError, RedisAddress};

/// The longest secret in a file, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// Files that are read for each connection, so that a replaced file counts for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// The name of the user.
    user: Option<PathBuf>,
    /// The password.
    password: Option<PathBuf>,
    /// The trusted certificates, instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate, and those that it was signed with.
    pub(crate) certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub(crate) key: Option<PathBuf>,
}

impl Config {
    /// Reads the user's name from this file, instead of from the URL. The file is read for each
    /// connection; a newline at its end is ignored.
    ///
    /// This and the following settings have no effect for the bus in memory.
    #[must_use]
    pub fn user_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.user = Some(path.into());
        self
    }

    /// Reads the password from this file, such as a container's secret, instead of from the URL. The
    /// file is read for each connection, so that the next one after a change uses the new password; a
    /// newline at its end is ignored.
    ///
    /// ```
    /// use conclib::Config;
    ///
    /// let config = Config::new("redis://web@cache.internal")?.password_file("/run/secrets/redis");
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    #[must_use]
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.password = Some(path.into());
        self
    }

    /// Trusts the certificates in this file (PEM), instead of the system's: Redis' certificate must be
    /// signed by one of them. Needs a `rediss://` URL.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.ca = Some(path.into());
        self
    }

    /// Sets the certificate that this process shows to Redis, with those that it was signed with, and
    /// its private key (both PEM). Needs a `rediss://` URL.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.access.certificate = Some(certificate.into());
        self.access.key = Some(key.into());
        self
    }
}

impl Access {
    /// The files in the order of [`Access::paths`].
    pub(super) fn from_paths([user, password, ca, certificate, key]: [Option<PathBuf>; 5]) -> Self {
        Self {
            user,
            password,
            ca,
            certificate,
            key,
        }
    }

    /// The files, in the order of the fields.
    pub(super) fn paths(&self) -> [&Option<PathBuf>; 5] {
        let Self {
            user,
            password,
            ca,
            certificate,
            key,
        } = self;
        [user, password, ca, certificate, key]
    }

    /// Checks that the files fit the URL. Certificates for a URL without TLS are an error, since they
    /// would suggest a protection that is not there.
    pub(super) fn check(&self, address: &RedisAddress) -> Result<(), ConfigError> {
        let wrong = |setting, problem: &str| Err(ConfigError::new(setting, problem));
        let twice = "it is given in the URL and in a file: leave one of them out";
        if self.password.is_some() && address.password.is_some() {
            return wrong("the password", twice);
        }
        if self.user.is_some() && address.username.is_some() {
            return wrong("the user", twice);
        }
        let has_user = self.user.is_some() || address.username.is_some();
        if has_user && self.password.is_none() && address.password.is_none() {
            let problem = "it has no password, so Redis would log in the user `default` instead: \
                           write `redis://user:password@host`, or name a file with the password \
                           (`CONCLIB_REDIS_PASSWORD_FILE`); any text will do for a user with `nopass`";
            return wrong("the user", problem);
        }
        if self.certificate.is_some() != self.key.is_some() {
            let problem = "it takes two files: the certificate (`CONCLIB_REDIS_CERT`) and its key \
                           (`CONCLIB_REDIS_KEY`)";
            return wrong("the client certificate", problem);
        }
        let certificates = self.ca.is_some() || self.certificate.is_some();
        if certificates && !address.tls {
            let problem = "certificates are for TLS, which a `redis://` URL does not use: write \
                           `rediss://`";
            return wrong("the URL", problem);
        }
        let readable = |path: &Option<PathBuf>| path.as_ref().is_none_or(|p| p.to_str().is_some());
        if !self.paths().into_iter().all(readable) {
            return wrong("a path", "it must be valid UTF-8");
        }
        Ok(())
    }

    /// True if there are no files to read.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The address with the secrets from the files. Reads them, and blocks meanwhile; returns the
    /// problem in words on failure, without any secret.
    pub(crate) fn with_secrets(&self, address: &RedisAddress) -> Result<RedisAddress, String> {
        let mut address = address.clone();
        if let Some(path) = &self.user {
            address.username = Some(secret("user", path)?);
        }
        if let Some(path) = &self.password {
            address.password = Some(secret("password", path)?);
        }
        Ok(address)
    }
}

fn secret(kind: &str, path: &Path) -> Result<String, String> {
    let problem = |problem: &str| format!("the {kind} file `{}` {problem}", path.display());
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_string(&mut text));
    let length = read.map_err(|error| problem(&format!("cannot be read: {error}")))?;
    if length as u64 > MAX_SECRET {
        return Err(problem(&format!("is longer than {MAX_SECRET} bytes")));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(problem("is empty"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> RedisAddress {
        RedisAddress::parse(url).unwrap()
    }

    #[test]
    fn files_that_do_not_fit_the_url_are_an_error() {
        let with = |set: fn(Config) -> Config, url: &str| {
            let config = set(Config::new(url).unwrap());
            config.check().err().map(|error| error.to_string())
        };
        let password: fn(Config) -> Config = |config| config.password_file("/p");
        assert_eq!(with(password, "redis://user@host"), None);
        let twice = with(password, "redis://user:secret@host").unwrap();
        assert!(
            twice.contains("the password") && !twice.contains("secret"),
            "{twice}"
        );
        let user: fn(Config) -> Config = |config| config.user_file("/u");
        assert_eq!(with(user, "redis://:secret@host"), None);
        assert!(
            with(user, "redis://user@host")
                .unwrap()
                .contains("the user")
        );
        let ca: fn(Config) -> Config = |config| config.ca_file("/ca");
        assert!(
            with(ca, "redis://host")
                .unwrap()
                .contains("write `rediss://`")
        );
        let half = Access {
            key: Some("/key".into()),
            ..Access::default()
        };
        assert!(half.check(&address("redis://host")).is_err());
    }

    #[test]
    fn secret_file_is_read_for_each_connection_and_never_shown() {
        let path = std::env::temp_dir().join(format!("conclib-secret-{}", std::process::id()));
        let config = Config::new("redis://host").unwrap();
        let config = config.user_file(&path).password_file(&path);
        for (text, secret) in [
            ("one", Some("one")),
            ("two\n", Some("two")),
            ("three\r\n", Some("three")),
            (" four \n\n", Some(" four \n")),
            ("\n", None),
            ("", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = config.access.with_secrets(&address("redis://host"));
            assert_eq!(
                read.clone().ok().and_then(|read| read.password).as_deref(),
                secret
            );
            if let Err(problem) = read {
                assert!(problem.contains("is empty"), "{problem}");
            }
        }
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        let problem = config.access.with_secrets(&address("redis://host"));
        let problem = problem.unwrap_err();
        assert!(
            problem.len() < 300 && problem.contains("longer"),
            "{problem}"
        );
        std::fs::remove_file(&path).unwrap();
        let problem = config.access.with_secrets(&address("redis://host"));
        assert!(
            problem
                .unwrap_err()
                .contains("cannot be read: No such file")
        );
    }
}
