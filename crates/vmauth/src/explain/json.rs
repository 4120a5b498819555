//! An explanation for programs (docs/reference/explain.md).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::text::{shown_url, shown_value};
use super::{Explanation, Outcome, Row};

impl Explanation {
    /// The whole answer as one JSON object.
    pub fn json(&self, with_secrets: bool) -> Value {
        let status = match self.outcome {
            Outcome::Allowed => None,
            Outcome::Denied(status) => Some(status),
            Outcome::Own(status) => status,
        };
        let verdict = match self.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied(_) => "denied",
            Outcome::Own(_) => "own page",
        };
        let pairs = |list: &[(String, String)]| -> Vec<Value> {
            let pair = |(name, value): &(String, String)| json!([name, shown_value(name, value, with_secrets)]);
            list.iter().map(pair).collect()
        };
        json!({
            "verdict": verdict,
            "status": status,
            "summary": self.headline(with_secrets),
            "message": self.message,
            "user": self.user_place.as_ref().map(|place| json!({"place": place, "name": self.user})),
            "route": self.route,
            "users": self.users.iter().map(row).collect::<Vec<_>>(),
            "routes": self.routes.iter().map(row).collect::<Vec<_>>(),
            "request": self.sent.as_ref().map(|sent| json!({
                "method": sent.method,
                "host": sent.host,
                "headers": pairs(&sent.headers),
                "added": pairs(&sent.added),
                "removed": sent.removed,
            })),
            "timeouts": self.timeouts.named().map(|(name, limit)| (name, limit.to_string())).collect::<BTreeMap<_, _>>(),
            "policy": self.policy,
            "backends": self.tries.iter().map(|attempt| json!({
                "url": shown_url(&attempt.url, with_secrets),
                "broken": attempt.is_broken,
                "marks": attempt.marks,
                "in_flight": attempt.in_flight,
                "weight": attempt.weight,
            })).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

fn row(row: &Row) -> Value {
    json!({"place": row.place, "name": row.name, "state": row.state.name(), "why": row.why})
}
