//! The id of a request in logs. No I/O.

use crate::reply::RequestId;
use crate::reply::remote::Origin;

/// Other hashes of a client's id never begin with this.
const PURPOSE: &[u8] = b"conclib request id";

/// The id of a request in logs: the same on both sides, and useless for reading replies, which takes the
/// client's own id.
pub(crate) fn request_id(origin: Origin) -> RequestId {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(PURPOSE);
    hash.update(&origin.client.0);
    hash.update(&origin.id.to_be_bytes());
    let digest = hash.digest().bytes();
    RequestId(
        digest
            .into_iter()
            .take(8)
            .fold(0, |id, byte| id << 8 | u64::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::reply::remote::ClientId;

    #[test]
    fn ids_differ_by_client_and_number_and_stay_as_they_are() {
        let id = |client, id| {
            let client = ClientId([client; 16]);
            request_id(Origin { client, id })
        };
        let ids: HashSet<_> = (0..10).flat_map(|n| [id(1, n), id(2, n)]).collect();
        assert_eq!(ids.len(), 20);
        // Both ends may be of different versions.
        assert_eq!(id(0xab, 7).to_string(), "3bc127dccdfd7978");
    }
}
