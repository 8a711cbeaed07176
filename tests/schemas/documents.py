"""A document that uses every section and every type of action, channel and source, for the tests of definitions."""

WHOLE = """
automations:
  - name: tables-by-nine
    description: These tables must be updated by nine on working days.
    enabled: true
    mode: live
    severity: high
    owner: team/sales
    runbook: https://example.org/runbooks/tables
    tags: [sales]
    trigger:
      type: deadline
      expect: table.updated
      match: {id: "table/*"}
      for_each: [id]
      subjects: [table/sales, table/orders]
      due: "0 9 * * 1-5"
      timezone: Europe/Berlin
      grace: 10m
    actions:
      - type: send-notification
        channel: oncall
        title: "{{ labels.id }} was not updated by {{ firing.due }}"
      - type: run-flow
        flow: backfill
        parameters: {table: "{{ labels.id }}", day: "{{ firing.due.date() }}"}
    actions_on_resolve:
      - {type: send-notification, channel: oncall, title: "{{ labels.id }} is back"}

  - name: host-is-silent
    trigger: {type: absence, expect: host.heartbeat, for_each: [id], within: 5m}
    actions: [{type: log}]

  - name: three-failures
    trigger:
      expect: flow-run.failed
      match: {env: prod}
      where: "payload.attempt > `1`"
      for_each: [id]
      threshold: 3
      within: 10m
    actions:
      - {type: pause-queue, queue: nightly}
      - {type: resume-queue, queue: default, if: "labels.id == 'x'"}
      - type: call-webhook
        url: https://example.org/hooks/incident
        headers: {X-Team: "{{ automation.owner }}", Authorization: {env: INCIDENT_TOKEN, prefix: "Bearer "}}
        body: {flow: "{{ labels.id }}", events: "{{ events | map(attribute='id') | list }}"}
        secret: {env: INCIDENT_SECRET}
        retry: {attempts: 8, delay: 2s, max_delay: 10m}
        timeout: 10s
      - type: emit-event
        event: incident.opened
        resource: {id: "incident/{{ firing.id }}"}
        related: [{id: "host/{{ labels.id }}", role: host}]
        payload: "{{ event.payload }}"
      - {type: pause-automation, automation: host-is-silent}
      - {type: resume-automation, automation: host-is-silent}
      - {type: cancel-run, run: "{{ event.resource.id }}"}

  - name: prefect
    trigger:
      type: compound
      require: all
      within: 300
      triggers:
        - posture: Reactive
          expect: [a]
          match: {prefect.resource.id: "x.*"}
          for_each: [prefect.resource.id]
          threshold: 1
        - {type: sequence, triggers: [{expect: b}, {type: not, trigger: {expect: c}}, {expect: d}]}

  - name: nightly
    trigger: {type: schedule, cron: "0 2 * * *"}

sources:
  - {name: github, type: webhook, recipe: github, secret: {env: GITHUB_SECRET}}
  - name: shop
    type: webhook
    verify: {type: hmac, header: X-Signature, algorithm: sha256, secret: {env: SHOP_SECRET}}
    event:
      event: "join('.', ['shop', body.kind])"
      resource: {id: "join('/', ['order', body.order.id])", customer: body.customer}
      related: [{id: body.shop, role: "'shop'"}]
      payload: body
      id: body.event_id
      occurred: body.at
  - name: token
    type: webhook
    verify: {type: token, query: token, secret: {env: T}}
    event: {event: body.kind, resource: {id: body.id}}
  - name: basic
    type: webhook
    verify: {type: basic, user: shop, password: {env: T}}
    event: {event: body.kind, resource: {id: body.id}}
  - name: standard
    type: webhook
    verify: {type: standard-webhooks, secret: {file: secrets/signing}}
    event: {event: body.kind, resource: {id: body.id}}
  - {name: open, type: webhook, verify: {type: none}, event: {event: "'x'", resource: {id: body.id}}}
  - {name: nightly-backup, type: checkin}

channels:
  - {name: oncall, type: slack, url: {env: SLACK_URL}}
  - {name: team, type: teams, url: {file: secrets/teams}}
  - {name: hook, type: webhook, url: "https://example.org/x", secret: {env: HOOK}}
  - {name: log, type: log}
  - {name: mail, type: email, host: smtp, username: u, password: {env: P}, from: a@example.org, to: [b@example.org]}
  - {name: phone, type: apprise, url: {env: PHONE}}

queues:
  - {name: nightly, concurrency: 2}

flows:
  - name: backfill
    entrypoint: flows/sales.py:backfill
    queue: nightly
    schedule: {cron: "0 2 * * *", timezone: UTC}
    retries: 2
    timeout: 1h
    env: {REGION: eu, API_KEY: {env: API_KEY}}
  - {name: cleanup, command: [rm, -f, x], schedule: {every: 1h, anchor: "2026-01-01T00:00:00Z"}}

tests:
  - name: a late table raises one alert
    automation: tables-by-nine
    events:
      - {at: "2026-03-02T08:20:00+01:00", event: table.updated, resource: {id: table/orders}}
    end: 2026-03-02T12:00:00+01:00
    firings:
      - {verdict: missed, labels: {id: table/sales}, at: "2026-03-02T09:10:00+01:00", due: "2026-03-02T09:00:00+01:00"}
"""
