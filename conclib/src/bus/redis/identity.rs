//! The identity of a server, by its texts about itself.

use crate::bus::transport::fleet::ServerIdentity;

/// The identity in the replies to `INFO server` and `INFO replication`.
pub(super) fn of(texts: &[impl AsRef<str>]) -> ServerIdentity {
    let fact = |name: &str| {
        let mut lines = texts.iter().flat_map(|text| text.as_ref().lines());
        let value = lines.find_map(|line| line.strip_prefix(name));
        value.filter(|value| !value.is_empty())
    };
    match (fact("run_id:"), fact("master_replid:")) {
        (Some(process), Some(data)) => ServerIdentity(format!("{process}:{data}")),
        _ => ServerIdentity::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_known_only_as_a_whole() {
        let server = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab\r\ntcp_port:6379\r\n";
        let replication =
            "# Replication\r\nrole:master\r\nmaster_replid:cd\r\nmaster_replid2:00\r\n";
        let identified = |texts: &[&str]| of(texts).0;
        assert_eq!(identified(&[server, replication]), "ab:cd");
        assert_eq!(identified(&[server]), "");
        assert_eq!(identified(&[replication]), "");
        assert_eq!(identified(&["run_id:\r\n", replication]), "");
        assert_eq!(identified(&[]), "");
    }
}
