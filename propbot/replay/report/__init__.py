"""`report.html`: what a replay did and what its trades cost, in one file that asks nothing of the network.

    reading   trace and ledger → values            head     what was replayed, and under which thresholds
    costs     a lot's fills → its costs, exactly    lots     a lot with its costs, its times and its edge
    figures   values → plots (plain data)           page     values → HTML
    write     the one that the replay calls
"""
