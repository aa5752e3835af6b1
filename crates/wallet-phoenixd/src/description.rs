//! The length of a description that phoenixd accepts.

/// phoenixd refuses longer descriptions. It counts UTF-16 code units.
const UNITS_MAX: usize = 128;
const CUT: char = '…';

/// The description, shortened if need be.
pub(crate) fn shortened(description: &str) -> String {
    if description.encode_utf16().count() <= UNITS_MAX {
        return description.to_owned();
    }
    let mut left = UNITS_MAX.saturating_sub(CUT.len_utf16());
    let fits = |each: &char| {
        let rest = left.checked_sub(each.len_utf16());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let mut short: String = description.chars().take_while(fits).collect();
    short.push(CUT);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_cut_between_characters_to_128_units() {
        let fits = "x".repeat(128);
        assert_eq!(shortened(&fits), fits);
        assert_eq!(shortened(&"x".repeat(129)), format!("{}…", "x".repeat(127)));
        // Two units and four bytes each: 63 of them and the mark are 127 units.
        assert_eq!(shortened(&"😀".repeat(64)), "😀".repeat(64));
        assert_eq!(shortened(&"😀".repeat(65)), format!("{}…", "😀".repeat(63)));
        // One unit and two bytes each.
        assert_eq!(shortened(&"ü".repeat(128)), "ü".repeat(128));
        assert_eq!(shortened(""), "");
    }
}
