//! The `Accept` header: finds the type that a client likes best among those we can answer with.

use std::cmp::Reverse;

/// The place in `offers` of the type that `accept` likes best (RFC 9110 section 12.5.1): the one with the highest
/// weight. Ties go to the one that is named more closely, then the one that is named first, then the first in `offers`.
/// `None` if none is acceptable, or `accept` is empty.
pub fn best(accept: &str, offers: &[&str]) -> Option<usize> {
    let rank = |offer: &str| {
        let ranges = accept.split(',').enumerate().filter_map(|(place, text)| Some((Range::read(text)?, place)));
        let matching =
            ranges.filter_map(|(range, place)| Some((range.closeness_to(offer)?, Reverse(place), range.weight)));
        let (closeness, place, weight) = matching.max()?;
        (weight > 0).then_some((weight, closeness, place))
    };
    let ranked = offers.iter().enumerate().filter_map(|(place, offer)| Some((rank(offer)?, Reverse(place))));
    ranked.max().map(|(_, Reverse(place))| place)
}

/// One range of types, such as `text/*;q=0.5`.
struct Range<'a> {
    name: &'a str,
    /// The weight, in thousandths.
    weight: u16,
    /// Whether it has no parameters that we know nothing of.
    is_plain: bool,
}

impl Range<'_> {
    /// Reads a range; `None` if its weight is no number from 0 to 1 (section 12.4.2).
    fn read(text: &str) -> Option<Range<'_>> {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Range { name: parts.next()?, weight: 1000, is_plain: true };
        for part in parts {
            if let Some(number) = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")) {
                let number: f32 = number.parse().ok().filter(|number| (0.0..=1.0).contains(number))?;
                range.weight = (number * 1000.0).round() as u16;
            } else {
                let is_ours = |known: &&str| part.eq_ignore_ascii_case(known);
                range.is_plain &= ["", "charset=utf-8", "charset=\"utf-8\""].iter().any(is_ours);
            }
        }
        (range.is_plain || range.weight > 0).then_some(range) // a range that excludes a kind leaves the others
    }

    /// How closely the range names `offer`: by itself, or a kind of it, or its family, or any type; `None` if it does
    /// not. The closest range that matches a type gives its weight.
    fn closeness_to(&self, offer: &str) -> Option<(u8, bool)> {
        let ((family, subtype), (our_family, our_subtype)) = (self.name.split_once('/')?, offer.split_once('/')?);
        let is_family = family.eq_ignore_ascii_case(our_family);
        match subtype {
            "*" if family == "*" => Some((0, true)),
            "*" => is_family.then_some((1, true)),
            _ => (is_family && subtype.eq_ignore_ascii_case(our_subtype)).then_some((2, self.is_plain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_wins_and_the_closest_range_gives_it() {
        let check = |accept: &str, expected: Option<&str>| {
            let offers = ["text/plain", "application/json", "text/html"];
            assert_eq!(best(accept, &offers).map(|place| offers[place]), expected, "{accept}");
        };
        check("", None);
        check("image/png", None);
        check("*/*", Some("text/plain"));
        check("text/*", Some("text/plain"));
        check("Text/*", Some("text/plain"));
        check("application/*", Some("application/json"));
        check("application/json", Some("application/json"));
        check("Application/JSON; charset=UTF-8", Some("application/json"));
        check("application/json;odata=verbose", Some("application/json"));
        check("application/json, text/plain, */*", Some("application/json"));
        check("text/plain, application/json", Some("text/plain"));
        check("*/*, application/json", Some("application/json"));
        check("application/json;q=0.5, text/plain", Some("text/plain"));
        check("application/json;q=0.5, text/plain;q=0.499", Some("application/json"));
        check("application/json ; Q=0.5 , */*;q=0.6", Some("text/plain"));
        check("application/json;q=0", None);
        check("application/json;q=0.000, */*;q=0.001", Some("text/plain"));
        check("*/*, text/*;q=0", Some("application/json"));
        check("text/*;q=0, text/html;q=0.1", Some("text/html"));
        check("text/*, text/plain;q=0.5", Some("text/html"));
        check("text/plain;format=flowed;q=0, */*", Some("text/plain"));
        check("text/plain;format=flowed, text/plain;q=0.1, text/html;q=0.2", Some("text/html"));
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some("text/html"));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for accept in
            [";;,q=,,\u{1F600};q=x", "text/plain;q=nan", "text/plain;q=2", "text/plain;q=-1", "*", "text", "/*"]
        {
            assert_eq!(best(accept, &["text/plain"]), None, "{accept}");
        }
    }
}
