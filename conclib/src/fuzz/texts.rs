//! Fuzz targets for texts from files, the environment, and peers.

#[cfg(feature = "redis")]
use crate::bus::config::RedisAddress;
use crate::fuzz::target;
#[cfg(feature = "cron")]
use crate::time::schedule::Schedule;
use crate::urn::Urn;
use crate::urn::hidden::is_hidden;

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[cfg(feature = "redis")]
target!(
    malformed_urls,
    texts(&[
        "redis://localhost:6379",
        "redis://me:hunter2@cache.internal:6380/2",
        "redis://u%3A:p%40ss%20+%2F1@[::1]:7000/3",
        "rediss://:hunter2@10.0.0.1:1/255",
        "redis://me:hunter2@host:port",
        "unix://me:hunter2@/run/redis.sock?db=3",
        "redis-sentinel://me:hunter2@a:1,[::1]/main/3?sentinel=you:hunter2",
    ]),
    |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        match RedisAddress::parse(&text) {
            Ok(address) => {
                let again = RedisAddress::parse(&address.to_url());
                assert_eq!(again.as_ref(), Ok(&address), "{text}");
                let secret = address.password.as_deref();
                let secret =
                    secret.filter(|s| s.len() >= 7 && !address.location.to_string().contains(*s));
                let told = format!("{address:?}");
                assert!(secret.is_none_or(|secret| !told.contains(secret)), "{told}");
            }
            Err(problem) => assert!(!problem.contains("hunter2"), "{problem}"),
        }
    }
);

target!(
    malformed_urns,
    texts(&[
        "user/42",
        "urn:uuid:0",
        &"ä".repeat(127),
        "\u{2003}\u{85}\u{7f}\u{202e}"
    ]),
    |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        let right = !text.is_empty() && text.len() <= Urn::MAX_LEN && !text.contains(is_hidden);
        match Urn::new(&*text) {
            Ok(urn) => assert!(right && urn == *text),
            Err(error) => assert!(!right && error.to_string().len() < 1000, "{error}"),
        }
    }
);

#[cfg(feature = "cron")]
target!(
    malformed_calendars,
    texts(&[
        "0 */5 * * * *",
        "30 0 9-17 * * MON-FRI",
        "0 0 3 1,15 * * 2030-2040/3",
        "0 0 0 L * *",
        "0 0 12 * * FRI#2",
        "0 0 0 15W 2 5L",
        "@hourly",
        "@weekly",
    ]),
    |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        let start = std::time::Instant::now();
        drop(Schedule::cron(&text));
        assert!(start.elapsed().as_secs() < 5, "{text}");
    }
);
