//! Names of types without their paths.

/// The name of a type without the paths in it: `Pool<Worker>` for `conclib::pool::Pool<shop::Worker>`.
pub(super) fn short_name(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    for part in name.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let end = part.trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let last = end.rsplit("::").next().unwrap_or(end);
        short.push_str(last);
        short.push_str(&part[end.len()..]);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_left_out() {
        for (name, short) in [
            ("Worker", "Worker"),
            ("shop::till::Worker", "Worker"),
            ("conclib::pool::Pool<shop::Worker>", "Pool<Worker>"),
            (
                "a::Cache<alloc::string::String, [b::Größe; 4]>",
                "Cache<String, [Größe; 4]>",
            ),
            ("a::Of<dyn b::Send + 'static>", "Of<dyn Send + 'static>"),
            ("", ""),
        ] {
            assert_eq!(short_name(name), short);
        }
    }
}
