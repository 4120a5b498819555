//! `/target_response`: the page of a target as it answers now, fetched by whoever can.

use super::{Args, PageReply, TEXT};

/// The answer for a number that belongs to no target.
pub fn not_found(args: &Args<'_>) -> PageReply {
    PageReply::bad_request(&format!("cannot find target for id={}", args.text("id")))
}

/// The answer after the target was asked. Always plain text: what a target sends must not act as a page of ours.
pub fn fetched(args: &Args<'_>, page: Result<Vec<u8>, String>) -> PageReply {
    match page {
        Ok(page) => PageReply::new(TEXT, page),
        Err(error) => PageReply::bad_request(&format!("cannot fetch response from id={}: {error}", args.text("id"))),
    }
}
