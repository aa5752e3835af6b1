//! The tables, as `migrations` makes them. Generated columns are for people and are not read.

#![expect(missing_docs, reason = "columns are explained in the migrations")]

diesel::table! {
    accounts (id) {
        id -> Text,
        balance_msats -> BigInt,
        held_msats -> BigInt,
    }
}

diesel::table! {
    transfers (seq) {
        seq -> BigInt,
        key -> Text,
        debit -> Text,
        credit -> Text,
        amount_msats -> BigInt,
        kind -> Text,
        reference -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    holds (id) {
        id -> Text,
        account -> Text,
        amount_msats -> BigInt,
        state -> Text,
        lease_until -> Nullable<BigInt>,
        charged_msats -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    jobs (id) {
        id -> Text,
        request -> Text,
        model -> Text,
        max_output_tokens -> Nullable<BigInt>,
        state -> Text,
        eval_quote -> Text,
        eval_amount_msats -> BigInt,
        eval_invoice -> Nullable<Text>,
        work_terms -> Nullable<Text>,
        work_invoice -> Nullable<Text>,
        rejection_reason -> Nullable<Text>,
        error_message -> Nullable<Text>,
        result -> Nullable<Text>,
        actual_input_tokens -> Nullable<BigInt>,
        actual_cached_input_tokens -> Nullable<BigInt>,
        actual_output_tokens -> Nullable<BigInt>,
        actual_buckets -> Nullable<Text>,
        finish_reason -> Nullable<Text>,
        settlement -> Nullable<Text>,
        refund_state -> Text,
        refund_amount_msats -> BigInt,
        revision -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        attempts -> BigInt,
        claims -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        nostr_pubkey -> Nullable<Text>,
        usage_estimated -> Bool,
        text_deleted_at -> Nullable<BigInt>,
        held_payment -> Nullable<Text>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        nostr_pubkey -> Nullable<Text>,
        deposit_msats -> BigInt,
        state -> Text,
        deposit_invoice -> Nullable<Text>,
        top_up_invoice -> Nullable<Text>,
        top_ups -> BigInt,
        paid_in_msats -> BigInt,
        topped_up_to_msats -> BigInt,
        refund_amount_msats -> BigInt,
        rounding_msats -> BigInt,
        webhook_url -> Nullable<Text>,
        return_to -> Nullable<Text>,
        warned_percent -> BigInt,
        notified_percent -> BigInt,
        last_used_at -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        kind -> Text,
        request_digest -> Nullable<Text>,
        request_terms -> Nullable<Text>,
        return_invoice -> Nullable<Text>,
        topped_up -> Nullable<Text>,
    }
}

diesel::table! {
    bootstrap_jobs (id) {
        id -> Text,
        nostr_pubkey -> Nullable<Text>,
        plan -> Text,
        amount_msats -> BigInt,
        ssh_public_key -> Nullable<Text>,
        state -> Text,
        invoice -> Nullable<Text>,
        paid_at -> Nullable<BigInt>,
        begun_at -> Nullable<BigInt>,
        host -> Nullable<Text>,
        sealed -> Nullable<Text>,
        delivered_at -> Nullable<BigInt>,
        error_message -> Nullable<Text>,
        refund_amount_msats -> BigInt,
        rounding_msats -> BigInt,
        claim_owner -> Nullable<Text>,
        claims -> BigInt,
        claimable_at -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    obligations (account) {
        account -> Text,
        accrued_msats -> BigInt,
        due_msats -> BigInt,
        destination -> Nullable<Text>,
        in_flight -> Nullable<Text>,
        last_paid -> Nullable<Text>,
        failures -> BigInt,
        next_try_at -> BigInt,
        problem -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    payouts (payment_hash) {
        payment_hash -> Text,
        id -> Text,
        account -> Text,
        bolt11 -> Text,
        amount_msats -> BigInt,
        fee_limit_msats -> BigInt,
        state -> Text,
        paying_since -> Nullable<BigInt>,
        preimage -> Nullable<Text>,
        fee_msats -> Nullable<BigInt>,
        error_message -> Nullable<Text>,
        attempts -> BigInt,
        looks -> BigInt,
        next_look_at -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    kept_requests (session_id) {
        session_id -> Text,
        request_id -> Text,
        nostr_pubkey -> Nullable<Text>,
        invoice -> Text,
        state -> Text,
        work_until -> Nullable<BigInt>,
        request -> Nullable<Text>,
        bytes -> BigInt,
        answer -> Nullable<Text>,
        lease_owner -> Nullable<Text>,
        lease_until -> BigInt,
        claims -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    session_keys (session_id, key_id) {
        session_id -> Text,
        key_id -> Text,
        parent_key_id -> Nullable<Text>,
        caveats -> Text,
        spent_msats -> BigInt,
        requests -> BigInt,
        counted_at -> Nullable<BigInt>,
        hour_spent_msats -> BigInt,
        day_spent_msats -> BigInt,
        month_spent_msats -> BigInt,
        reserved_msats -> BigInt,
        running -> BigInt,
        warned_percent -> BigInt,
        notified_percent -> BigInt,
        revoked_at -> Nullable<BigInt>,
        first_used_at -> BigInt,
        last_used_at -> BigInt,
    }
}

diesel::table! {
    session_requests (id) {
        id -> Text,
        session_id -> Text,
        model -> Text,
        limit_msats -> BigInt,
        key_ids -> Text,
        state -> Text,
        cost_msats -> Nullable<BigInt>,
        charged_msats -> Nullable<BigInt>,
        absorbed_msats -> Nullable<BigInt>,
        actual_input_tokens -> Nullable<BigInt>,
        actual_cached_input_tokens -> Nullable<BigInt>,
        actual_output_tokens -> Nullable<BigInt>,
        actual_buckets -> Nullable<Text>,
        backend -> Nullable<Text>,
        request_hash -> Nullable<Text>,
        btc_price_usd_micros -> Nullable<BigInt>,
        usage_estimated -> Bool,
        finish_reason -> Nullable<Text>,
        reason -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        result -> Nullable<Text>,
        text_deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    text_deletions (owner) {
        owner -> Text,
        requested_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        jobs -> BigInt,
        session_requests -> BigInt,
        responses -> BigInt,
    }
}

diesel::table! {
    invoices (payment_hash) {
        payment_hash -> Text,
        purpose -> Text,
        owner -> Text,
        bolt11 -> Text,
        amount_msats -> BigInt,
        state -> Text,
        received_msats -> Nullable<BigInt>,
        paid_at -> Nullable<BigInt>,
        preimage -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    idempotency_keys (scope, key) {
        scope -> Text,
        key -> Text,
        fingerprint -> Text,
        subject -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        answer_status -> Nullable<Integer>,
        answer_body -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    outbox (seq) {
        seq -> BigInt,
        topic -> Text,
        subject -> Text,
        revision -> BigInt,
        state -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    nostr_identities (pubkey) {
        pubkey -> Text,
        trust_score_millis -> BigInt,
        gained_today_millis -> BigInt,
        gains_reset_at -> Nullable<BigInt>,
        away_since -> BigInt,
        interaction_count -> BigInt,
        absorbed_today_msats -> BigInt,
        absorbed_reset_at -> Nullable<BigInt>,
        reserved_msats -> BigInt,
        open_offer -> Nullable<Text>,
        last_seen -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    auth_challenges (id) {
        id -> Text,
        kind -> Text,
        pubkey -> Text,
        used_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    free_tier_reservations (id) {
        id -> Text,
        pubkey -> Text,
        amount_msats -> BigInt,
        budget_msats -> BigInt,
        used_after_msats -> BigInt,
        state -> Text,
        lease_until -> Nullable<BigInt>,
        absorbed_msats -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    free_tier_pool (id) {
        id -> Text,
        offered_msats -> BigInt,
        day -> BigInt,
        granted_msats -> BigInt,
    }
}

diesel::table! {
    free_tier_grants (id) {
        id -> Text,
        pubkey -> Text,
        request_hash -> Text,
        absorbed_msats -> BigInt,
        pool_balance_after_msats -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    install_credits (install_id) {
        install_id -> Text,
        plan -> Text,
        anchor_day -> BigInt,
        period_start -> BigInt,
        lifetime_consumed -> BigInt,
        lifetime_cloud_consumed -> BigInt,
        lifetime_reserved -> BigInt,
        lifetime_cloud_reserved -> BigInt,
        monthly_consumed -> BigInt,
        monthly_cloud_consumed -> BigInt,
        monthly_reserved -> BigInt,
        monthly_cloud_reserved -> BigInt,
        last_active_at -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    credits (id) {
        id -> Text,
        install_id -> Text,
        plan -> Text,
        backend -> Text,
        counted -> Text,
        quota_requests -> Nullable<BigInt>,
        quota_cloud -> Nullable<BigInt>,
        period_start -> BigInt,
        used_after -> BigInt,
        cloud_used_after -> BigInt,
        state -> Text,
        lease_until -> Nullable<BigInt>,
        late -> Bool,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    install_origins (name) {
        name -> Text,
        since -> BigInt,
        installs -> BigInt,
    }
}

diesel::table! {
    revoked_licences (licence_id) {
        licence_id -> Text,
        reason -> Text,
        revoked_at -> BigInt,
    }
}

diesel::table! {
    servers (id) {
        id -> Text,
        name -> Text,
        version -> Text,
        settings -> Text,
        started_at -> BigInt,
        seen_at -> BigInt,
    }
}
