//! The configuration that a Redis reads from its standard input.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::bus::config::{ConfigError, RedisAddress};

/// Number of databases, unless the config names a higher one.
const DATABASES: u32 = 16;

/// Loopback only, nothing on disk, and the user of the config.
pub(super) fn text(
    address: &RedisAddress,
    host: IpAddr,
    port: u16,
    directory: &Path,
) -> Result<String, ConfigError> {
    let databases = DATABASES.max(address.database.saturating_add(1));
    let fixed = format!(
        "bind {}\nport {port}\ndir {}\nsave \"\"\nappendonly no\ndaemonize no\nsupervised no\n\
         databases {databases}\nlogfile \"\"\nalways-show-logo no\n",
        bind(host),
        quoted(directory.as_os_str().as_bytes()),
    );
    Ok(fixed + &users(address)?)
}

/// `-` lets a machine without IPv6 go without.
fn bind(host: IpAddr) -> String {
    if host == IpAddr::from(Ipv6Addr::LOCALHOST) {
        "127.0.0.1 ::1".to_owned()
    } else if host == IpAddr::from(Ipv4Addr::LOCALHOST) {
        "127.0.0.1 -::1".to_owned()
    } else {
        format!("127.0.0.1 -::1 {host}")
    }
}

/// A user of its own name replaces the default user.
fn users(address: &RedisAddress) -> Result<String, ConfigError> {
    let named = address
        .username
        .as_deref()
        .filter(|name| *name != "default");
    let Some(name) = named else {
        let password = address.password.as_ref();
        return Ok(password.map_or_else(String::new, |password| {
            format!("requirepass {}\n", quoted(password.as_bytes()))
        }));
    };
    // Redis would end, and print the line with the password in it.
    if name.chars().any(|c| c.is_whitespace() || c == '\0') {
        return Err(ConfigError::unsupported(
            "a Redis user's name cannot hold spaces",
        ));
    }
    let name = quoted(name.as_bytes());
    Ok(match &address.password {
        None => format!("user {name} on nopass ~* &* +@all\n"),
        Some(password) => {
            let password = quoted(format!(">{password}").as_bytes());
            format!("user {name} on {password} ~* &* +@all\nuser default off\n")
        }
    })
}

/// As one word, whatever bytes it holds.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "\\x{byte:02x}"); // writing to a String cannot fail
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::config::{Bus, Config};

    fn written(url: &str) -> Result<String, ConfigError> {
        let Bus::Redis(address) = Config::new(url)?.bus else {
            panic!("a memory bus");
        };
        let port = address.node().unwrap().port;
        text(
            &address,
            Ipv4Addr::LOCALHOST.into(),
            port,
            Path::new("/tmp/x"),
        )
    }

    #[test]
    fn nothing_breaks_out_of_its_word() {
        assert_eq!(quoted(b"a b\"\n"), r#""a\x20b\x22\x0a""#);
    }

    #[test]
    fn user_of_the_config_may_connect() {
        let text = written("redis://:secret@localhost:7000/20").unwrap();
        assert!(text.contains("\nrequirepass \"secret\"\n"), "{text}");
        assert!(
            text.contains("\nport 7000\n") && text.contains("\ndatabases 21\n"),
            "{text}"
        );

        let text = written("redis://me:secret@localhost").unwrap();
        assert!(text.contains("user \"me\" on \"\\x3esecret\""), "{text}");
        assert!(text.contains("\nuser default off\n"), "{text}");

        assert!(
            !written("redis://localhost")
                .unwrap()
                .contains("requirepass")
        );
        assert!(written("redis://m%20e:secret@localhost").is_err());
    }
}
