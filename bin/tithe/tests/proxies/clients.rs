//! Who a client is, behind a proxy.

use crate::proxy::Kind;
use crate::shop::Shop;
use std::net::Ipv4Addr;

/// Each client has its own limit, whatever it says of itself in the headers of proxies.
pub(crate) async fn are_told_apart(kind: Kind) {
    let shop = Shop::open(kind, &[("TITHE_REQUESTS_PER_SECOND", "1")]).await;
    let somebody = |n: u8| shop.client(Some(Ipv4Addr::new(127, 0, 0, n).into()));
    let (greedy, other) = (somebody(2), somebody(3));
    let mut statuses = Vec::new();
    for n in 0..100 {
        let mut request = greedy.get(format!("{}/api/pool", shop.proxy.url()));
        for header in ["X-Forwarded-For", "X-Real-IP"] {
            request = request.header(header, format!("198.51.100.{n}"));
        }
        request = request.header("Forwarded", format!("for=198.51.100.{n}"));
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    // Two servers count for themselves; each lets ten pass at once.
    assert!(statuses.iter().filter(|status| **status == 429).count() > 50, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    for _ in 0..5 {
        let answer = other.get(format!("{}/api/pool", shop.proxy.url())).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
