//! Named character sets of Go's dialect: `\d`, `[[:alpha:]]`, `\pL`, and letter case folding.
//!
//! Sets without a Unicode property are ASCII. Names of properties are compared as Go does since 1.25: letter case,
//! blanks, `_` and `-` do not matter; names that only Rust's regex crate knows are refused.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// A set of these inclusive ranges of scalar values; surrogates are left out, since no text holds them.
pub(super) fn set(ranges: impl IntoIterator<Item = (u32, u32)>) -> ClassUnicode {
    let mut kept = Vec::new();
    for (low, high) in ranges {
        let parts = [(low, high.min(0xD7FF)), (low.max(0xE000), high.min(0x10_FFFF))];
        for (low, high) in parts {
            if let (true, Some(low), Some(high)) = (low <= high, char::from_u32(low), char::from_u32(high)) {
                kept.push(ClassUnicodeRange::new(low, high));
            }
        }
    }
    ClassUnicode::new(kept)
}

/// Adds the other letter cases of all members (simple folding).
pub(super) fn fold(class: &mut ClassUnicode) {
    // The tables are a default feature; without them the set stays as it is.
    let _ = class.try_case_fold_simple();
}

fn ascii(pairs: &[u8]) -> ClassUnicode {
    set(pairs.chunks_exact(2).map(|pair| (u32::from(pair[0]), u32::from(pair[1]))))
}

/// The set of `\d`, `\s`, `\w` and whether it is negated, as by `\D`.
pub(super) fn perl(letter: u8) -> Option<(ClassUnicode, bool)> {
    let members: &[u8] = match letter.to_ascii_lowercase() {
        b'd' => b"09",
        b's' => b"\t\n\x0C\r  ",
        b'w' => b"09AZ__az",
        _ => return None,
    };
    Some((ascii(members), letter.is_ascii_uppercase()))
}

/// The set of a POSIX name such as `alpha`.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    let members: &[u8] = match name {
        "alnum" => b"09AZaz",
        "alpha" => b"AZaz",
        "ascii" => b"\x00\x7F",
        "blank" => b"\t\t  ",
        "cntrl" => b"\x00\x1F\x7F\x7F",
        "digit" => b"09",
        "graph" => b"!~",
        "lower" => b"az",
        "print" => b" ~",
        "punct" => b"!/:@[`{~",
        "space" => b"\t\r  ",
        "upper" => b"AZ",
        "word" => b"09AZ__az",
        "xdigit" => b"09AFaf",
        _ => return None,
    };
    Some(ascii(members))
}

/// The set of a general category or script, such as `L`, `Letter`, `Greek` or `Any`.
pub(super) fn unicode(name: &str) -> Option<ClassUnicode> {
    let name: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    let name = name.as_str();
    match name {
        "any" => return Some(set([(0, 0x10_FFFF)])),
        "ascii" => return Some(set([(0, 0x7F)])),
        // Surrogates do not occur in text.
        "cs" | "surrogate" => return Some(ClassUnicode::empty()),
        _ => {}
    }
    let query = if CATEGORIES.binary_search(&name).is_ok() {
        format!(r"\p{{gc={name}}}")
    } else if SCRIPTS.binary_search(&name).is_ok() {
        format!(r"\p{{sc={name}}}")
    } else {
        return None;
    };
    match regex_syntax::parse(&query).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        HirKind::Literal(literal) => {
            let text = str::from_utf8(&literal.0).ok()?;
            Some(set(text.chars().map(|c| (u32::from(c), u32::from(c)))))
        }
        _ => None,
    }
}

/// General categories and their long names, sorted.
#[rustfmt::skip] // one name a line would be unreadable
const CATEGORIES: &[&str] = &[
    "assigned", "c", "casedletter", "cc", "cf", "closepunctuation", "cn", "cntrl", "co", "combiningmark",
    "connectorpunctuation", "control", "currencysymbol", "dashpunctuation", "decimalnumber", "digit", "enclosingmark",
    "finalpunctuation", "format", "initialpunctuation", "l", "lc", "letter", "letternumber", "lineseparator", "ll",
    "lm", "lo", "lowercaseletter", "lt", "lu", "m", "mark", "mathsymbol", "mc", "me", "mn", "modifierletter",
    "modifiersymbol", "n", "nd", "nl", "no", "nonspacingmark", "number", "openpunctuation", "other", "otherletter",
    "othernumber", "otherpunctuation", "othersymbol", "p", "paragraphseparator", "pc", "pd", "pe", "pf", "pi", "po",
    "privateuse", "ps", "punct", "punctuation", "s", "sc", "separator", "sk", "sm", "so", "spaceseparator",
    "spacingmark", "symbol", "titlecaseletter", "unassigned", "uppercaseletter", "z", "zl", "zp", "zs",
];

/// Scripts, sorted.
#[rustfmt::skip] // one name a line would be unreadable
const SCRIPTS: &[&str] = &[
    "adlam", "ahom", "anatolianhieroglyphs", "arabic", "armenian", "avestan", "balinese", "bamum", "bassavah",
    "batak", "bengali", "bhaiksuki", "bopomofo", "brahmi", "braille", "buginese", "buhid", "canadianaboriginal",
    "carian", "caucasianalbanian", "chakma", "cham", "cherokee", "chorasmian", "common", "coptic", "cuneiform",
    "cypriot", "cyrillic", "deseret", "devanagari", "divesakuru", "dogra", "duployan", "egyptianhieroglyphs",
    "elbasan", "elymaic", "ethiopic", "georgian", "glagolitic", "gothic", "grantha", "greek", "gujarati",
    "gunjalagondi", "gurmukhi", "han", "hangul", "hanifirohingya", "hanunoo", "hatran", "hebrew", "hiragana",
    "imperialaramaic", "inherited", "inscriptionalpahlavi", "inscriptionalparthian", "javanese", "kaithi", "kannada",
    "katakana", "kayahli", "kharoshthi", "khitansmallscript", "khmer", "khojki", "khudawadi", "lao", "latin",
    "lepcha", "limbu", "lineara", "linearb", "lisu", "lycian", "lydian", "mahajani", "makasar", "malayalam",
    "mandaic", "manichaean", "marchen", "masaramgondi", "medefaidrin", "meeteimayek", "mendekikakui",
    "meroiticcursive", "meroitichieroglyphs", "miao", "modi", "mongolian", "mro", "multani", "myanmar", "nabataean",
    "nandinagari", "newa", "newtailue", "nko", "nushu", "nyiakengpuachuehmong", "ogham", "olchiki", "oldhungarian",
    "olditalic", "oldnortharabian", "oldpermic", "oldpersian", "oldsogdian", "oldsoutharabian", "oldturkic", "oriya",
    "osage", "osmanya", "pahawhhmong", "palmyrene", "paucinhau", "phagspa", "phoenician", "psalterpahlavi", "rejang",
    "runic", "samaritan", "saurashtra", "sharada", "shavian", "siddham", "signwriting", "sinhala", "sogdian",
    "sorasompeng", "soyombo", "sundanese", "sylotinagri", "syriac", "tagalog", "tagbanwa", "taile", "taitham",
    "taiviet", "takri", "tamil", "tangut", "telugu", "thaana", "thai", "tibetan", "tifinagh", "tirhuta", "ugaritic",
    "vai", "wancho", "warangciti", "yezidi", "yi", "zanabazarsquare",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_known() {
        for table in [CATEGORIES, SCRIPTS] {
            assert!(table.is_sorted());
            for name in table {
                assert!(unicode(name).is_some(), "{name}");
            }
        }
    }
}
