"""Why a forecast is what it is: which operations and edges it hangs on.

parts           what could have been decided otherwise in an architecture, and what comes of it
swaps           the forecast with one part decided otherwise
shapley         how a forecast's distance from the average is shared among the parts
gradients       integrated gradients: the share of every node and edge, from one forecast's derivatives
summary         what each choice is worth on average over a space
wording         effects in words
"""
