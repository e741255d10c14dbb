"""Why a forecast is what it is: which operations and edges it hangs on."""
