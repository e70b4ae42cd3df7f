//! Scripts, as the library runs them.

use fred::types::Value;

/// The arguments of an `EVAL`.
pub(in crate::bus::redis) fn eval(
    script: &'static str,
    keys: Vec<String>,
    arguments: Vec<Value>,
) -> Vec<Value> {
    let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    let mut all = vec![Value::from_static_str(script), count.into()];
    all.extend(keys.into_iter().map(Value::from));
    all.extend(arguments);
    all
}
