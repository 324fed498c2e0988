//! Reads `/metrics`.

/// Returns a metric of the text, such as `tokenrill_viewers_live`: the sum of all series that have the given labels, as
/// in `name{by="x"}`; without labels, of all series of the name.
///
/// # Panics
///
/// If there is no such series.
pub fn sum_of_series(text: &str, name: &str) -> f64 {
    let (name, wanted) = name.split_once('{').unwrap_or((name, "}"));
    let wanted: Vec<_> = wanted.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
    let series = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_series = labels.is_empty() || labels.starts_with('{');
        let labels: Vec<_> = labels.trim_matches(['{', '}']).split(',').collect();
        (is_series && wanted.iter().all(|label| labels.contains(label)))
            .then(|| value.parse::<f64>().expect("a number"))
    });
    series.reduce(|one, other| one + other).unwrap_or_else(|| panic!("no metric {name} {wanted:?} in {text}"))
}
