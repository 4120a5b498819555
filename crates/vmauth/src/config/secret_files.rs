//! Secrets that the config names by their file: passwords, tokens, hashes, values of headers (docs/reference/config.md).
//!
//! Files are read through the given closure, which knows what a config may read. One line is the secret; blanks at its end
//! do not count, since editors and `echo` leave them. Whatever a file holds, none of it reaches a message.

use super::builder::{Builder, UserContext};
use super::stage::Stage;
use crate::rewrite::header_rules::{HeaderRule, split_header};
use vmkit::go_text::{os_error, quote};
use vmkit::yaml::{Place, Text, TextList};

impl Builder<'_, '_> {
    /// The secret in the file that the field `field` of the user names; nothing when a problem was reported.
    pub(super) fn secret_file(
        &mut self,
        field: &str,
        Text { value: path, mark }: Text<'_>,
        context: UserContext<'_>,
    ) -> Option<String> {
        match self.read_secret(path) {
            Ok(secret) => Some(secret),
            Err(cause) => {
                let message = format!("cannot use the {field} {}: {cause}", quote(path));
                self.problems.push(context.stage, &context.place.field(field), mark, message, "");
                None
            }
        }
    }

    /// Header rules of `header_files` of the object at `place`.
    pub(super) fn header_files(&mut self, list: Option<&TextList<'_>>, place: &Place<'_>) -> Vec<HeaderRule> {
        let place = place.field("header_files");
        let mut rules = Vec::new();
        for &(index, Text { value: item, mark }) in list.iter().flat_map(|list| &list.items) {
            match self.header_file(item) {
                Ok(rule) => rules.push(rule),
                Err(message) => {
                    let hint = "write \"Name: /path/of/file\", or \"Authorization: Bearer /path/of/file\"";
                    self.problems.push(Stage::Values, &place.index(index), mark, message, hint);
                }
            }
        }
        rules
    }

    fn header_file(&self, item: &str) -> Result<HeaderRule, String> {
        let (name, value) = split_header(item).map_err(|error| error.to_string())?;
        let (scheme, path) = match value.split_once(' ') {
            Some((scheme, path)) if !value.starts_with(['/', '.']) => (format!("{scheme} "), path.trim_start()),
            _ => (String::new(), value),
        };
        let secret = self
            .read_secret(path)
            .map_err(|cause| format!("cannot use the file {} of the header {}: {cause}", quote(path), quote(name)))?;
        if secret.contains("{{") {
            return Err(format!(
                "the file {} of the header {} holds {{{{, which would be a placeholder",
                quote(path),
                quote(name)
            ));
        }
        let of_file = |_| format!("the file {} holds no value of the header {}", quote(path), quote(name));
        HeaderRule::parse(&format!("{name}: {scheme}{secret}")).map_err(of_file)
    }

    fn read_secret(&self, path: &str) -> Result<String, String> {
        let bytes = (self.inputs.read_file)(path).map_err(|error| os_error(&error))?;
        let text = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        match text.trim_end() {
            "" => Err("it is empty".to_owned()),
            text if text.contains(['\n', '\r', '\0']) => Err("it holds more than one line".to_owned()),
            text => Ok(text.to_owned()),
        }
    }
}
