//! `-remoteWrite.label`: labels of every series, whoever sent it.
//!
//! A label that the series has is overwritten where it stands, at its first occurrence; one that it lacks is appended.

use super::{Series, SeriesBlock};

/// The labels with the messages that are appended when nothing clashes.
#[derive(Debug, Default)]
pub(crate) struct ExternalLabels {
    labels: Vec<(Vec<u8>, Vec<u8>)>,
    appended: Vec<u8>,
}

impl ExternalLabels {
    /// Of several labels with one name the last counts.
    pub(crate) fn new(pairs: &[(String, String)]) -> Self {
        let mut labels: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (name, value) in pairs {
            match labels.iter_mut().find(|(known, _)| known == name.as_bytes()) {
                Some((_, known)) => *known = value.clone().into_bytes(),
                None => labels.push((name.clone().into_bytes(), value.clone().into_bytes())),
            }
        }
        let appended = messages(labels.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
        Self { labels, appended }
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Label messages of the series with these labels. `scratch` is overwritten where a name clashes.
    pub(crate) fn apply<'a>(&'a self, series: &Series<'a>, scratch: &'a mut Vec<u8>) -> [&'a [u8]; 2] {
        let clashes = |(name, _): &(Vec<u8>, Vec<u8>)| series.labels().any(|(known, _)| known == name);
        if !self.labels.iter().any(clashes) {
            return [series.label_messages(), &self.appended];
        }
        let mut placed = vec![false; self.labels.len()];
        let mut merged: Vec<(&[u8], &[u8])> = Vec::with_capacity(series.labels().len() + self.labels.len());
        for (name, value) in series.labels() {
            let own = self.labels.iter().position(|(known, _)| known == name);
            match own.filter(|own| !std::mem::replace(&mut placed[*own], true)) {
                Some(own) => merged.push((name, &self.labels[own].1)),
                None => merged.push((name, value)),
            }
        }
        let missing = self.labels.iter().zip(&placed).filter(|(_, placed)| !**placed);
        merged.extend(missing.map(|((name, value), _)| (name.as_slice(), value.as_slice())));
        *scratch = messages(merged.into_iter());
        [scratch, b""]
    }
}

fn messages<'a>(labels: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = SeriesBlock::new();
    block.begin_series();
    labels.for_each(|(name, value)| block.push_label(name, value));
    block.push_sample(0, 0.0);
    block.end_series();
    block.iter().next().map(|series| series.label_messages().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwritten_in_place_or_appended() {
        let f = |external: &[(&str, &str)], labels: &[(&str, &str)], want: &[(&str, &str)]| {
            let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
            };
            let external = ExternalLabels::new(&own(external));
            let bytes = |pairs: &[(&str, &str)]| {
                messages(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
            };
            let mut block = SeriesBlock::new();
            block.begin_series();
            labels.iter().for_each(|(name, value)| block.push_label(name.as_bytes(), value.as_bytes()));
            block.push_sample(1, 1.0);
            assert!(block.end_series());
            let mut scratch = Vec::new();
            let got = external.apply(&block.iter().next().unwrap(), &mut scratch).concat();
            assert_eq!(got, bytes(want), "{labels:?}");
        };
        let external = [("dc", "eu"), ("env", "a=b")];
        f(&external, &[("z", "1")], &[("z", "1"), ("dc", "eu"), ("env", "a=b")]);
        f(&external, &[("dc", "us"), ("z", "1")], &[("dc", "eu"), ("z", "1"), ("env", "a=b")]);
        f(&external, &[("dc", "1"), ("dc", "2")], &[("dc", "eu"), ("dc", "2"), ("env", "a=b")]);
        f(&[("a", "1"), ("a", "2")], &[], &[("a", "2")]);
        f(&[], &[("a", "1")], &[("a", "1")]);
    }
}
