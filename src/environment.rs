//! Environment variables that a user has misspelt.

use std::ffi::OsString;

use crate::flags;

/// A line about each environment variable that is nearly one of ours, and does nothing.
pub fn misspelt(variables: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let ours = flags::variables();
    let complaint = |name: OsString| {
        let name = name.into_string().ok()?;
        let like_ours = name.to_uppercase().replace('-', "_");
        let near = |ours: &&String| {
            let letters = ours.len() - "ALOUD_".len();
            strsim::osa_distance(&like_ours, ours) <= if letters < 5 { 1 } else { 2 }
        };
        let is_meant = like_ours.starts_with("ALOUD") && !ours.contains(&name);
        let nearest = ours.iter().filter(near).min_by_key(|ours| strsim::osa_distance(&like_ours, ours));
        Some(format!("{} does nothing; is {} meant?", name.escape_debug(), nearest.filter(|_| is_meant)?))
    };
    variables.into_iter().filter_map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_nearly_a_flags_is_told_of() {
        let check = |name: &str, meant: Option<&str>| {
            let line = meant.map(|meant| format!("{name} does nothing; is {meant} meant?"));
            assert_eq!(misspelt([OsString::from(name)]), line.into_iter().collect::<Vec<_>>());
        };
        check("ALOUD_HITSORY", Some("ALOUD_HISTORY"));
        check("ALOUD_SAYTOKEN", Some("ALOUD_SAY_TOKEN"));
        check("ALOUD_TOKEN", Some("ALOUD_TOKENS"));
        check("ALOUD_LOGS", Some("ALOUD_LOG"));
        check("ALOUD-MAX-BODY", Some("ALOUD_MAX_BODY"));
        check("aloud_queue", Some("ALOUD_QUEUE"));
        check("ALOUD_HISTORY", None);
        for other in ["ALOUD_SERVER", "ALOUD_PORT", "ALOUD_SERVICE_HOST", "ALOUD_HOST", "LOUD_LOG", "ALOUD", "PATH"] {
            check(other, None);
        }
    }
}
