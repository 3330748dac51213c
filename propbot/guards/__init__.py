"""What watches. A guard can trip (HOLD); it can't arm. One file a guard; each value shown was measured."""
