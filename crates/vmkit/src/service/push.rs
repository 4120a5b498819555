//! `-pushmetrics.*`: the page of the process sent to its targets by the client of the control plane.

use std::sync::Arc;

use super::{Fatal, Service};
use crate::http_client::{Client, FetchRequest, Method};
use crate::metrics::push::{METHOD, PushRequest, Pusher, SendFuture};

impl Service {
    /// Starts one task a target; they end with the process.
    pub(super) fn start_pushes(&self) -> Result<(), Fatal> {
        let options = &self.options.metrics.push;
        for url in &options.urls {
            let pusher = Pusher::new(url, options, self.registry.common())
                .map_err(|error| format!("cannot initialize pushmetrics: {error}"))?;
            let (page, client, cancel) = (self.page.clone(), self.client.clone(), self.cancel.clone());
            tokio::spawn(async move {
                pusher.run(|| page.get(), |request| send(client.clone(), request), &cancel).await;
            });
        }
        Ok(())
    }
}

fn send(client: Arc<Client>, push: PushRequest) -> SendFuture {
    Box::pin(async move {
        let mut request = FetchRequest::get(push.url);
        debug_assert_eq!(request.method, Method::GET);
        debug_assert_eq!(request.method.as_str(), METHOD);
        request.headers = push.headers;
        request.body = push.body;
        let reply = client.fetch(request).await.map_err(|error| error.to_string())?;
        Ok(reply.status.as_u16())
    })
}
