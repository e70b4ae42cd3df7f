//! Versions of the packages that the workspace builds.

/// The lock file of the workspace, as it was when this was built.
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));

/// The version of a package that the workspace builds; the last in the lock file if there are several.
pub fn locked_version(package: &str) -> Option<String> {
    version_in(LOCK, package)
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let start = lock.rfind(&entry)? + entry.len();
    let version = lock.get(start..)?.split('"').next()?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_below_its_name() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"ab\"\nversion = \"2.0.0\"\n";
        assert_eq!(version_in(lock, "a").as_deref(), Some("1.0.0"));
        assert_eq!(version_in(lock, "ab").as_deref(), Some("2.0.0"));
        assert_eq!(version_in(lock, "b"), None);
        assert!(locked_version("tokio").is_some());
    }
}
