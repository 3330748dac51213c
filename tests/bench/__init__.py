"""The benchmark: what PropBot costs and how fast it is, measured from outside of it.

    python -m tests.bench [--only NAME] [--long] [--json-file FILE]

Stdout holds JSON lines and nothing else, `{"metric","value","unit","n"}`; progress and a table beside the goals go to
stderr. One room a file:

    rig           processes, the spinner that keeps the cores awake, percentiles, interleaved rounds
    trace         rows of the venues' trace → latencies; pure
    market        books that the benchmark moves, frame by frame
    recorded      recorded frames as the bytes that a venue's socket sends
    wire          the venues' network: bursts that leave in one write, floods of recorded frames
    venues        the embedded venues in a process of their own, commanded over a pipe
    loops         minimal loops of the same parts, each as a program: what the rig and the parts cost without us
    ingest, tick_to_order, commit, hold, trip, api, start, memory, virtual_time      one measurement each
    goals         what the figures are held against, on stderr only
    anatomy       where the time goes, for people: a tick's journey (with stages_bot) and the flood's profile
"""
